//! A web server's log in the Combined Log Format.

use std::io::{self, Write};

use super::random::{AliasTable, SplitMix64};

const HOSTS: u32 = 8_192;
const PAGES: u32 = 20_000;
/// Midnight that begins 2026, in days since 1970.
const FIRST_DAY: u64 = 20_454;
const DAY_SECONDS: u64 = 86_400;
const BUFFER_BYTES: usize = 256 * 1024;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const SECTIONS: [&str; 8] = [
    "articles", "images", "static", "search", "users", "docs", "api/v1", "archive",
];
const ENDINGS: [&str; 4] = [".html", "", ".png", "?page=2"];
const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15",
    "curl/8.9.1",
    "ExampleBot/2.1 (+https://bot.example/about)",
];
/// Of sixteen answers.
const STATUSES: [u16; 16] = [
    200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 304, 304, 301, 404, 500,
];

/// Writes lines of the Combined Log Format, in the order of their times. Few
/// hosts and few pages make most requests, as Zipf's law says. The text ends with
/// the line that brings it nearest to `size_bytes`.
///
/// # Errors
///
/// When `out` fails.
pub fn access_log(size_bytes: u64, seed: u64, out: &mut dyn Write) -> io::Result<()> {
    let (hosts, pages) = (AliasTable::zipf(HOSTS), AliasTable::zipf(PAGES));
    let mut random = SplitMix64(seed);
    let mut buffer = Vec::with_capacity(BUFFER_BYTES + 1024);
    let (mut written, mut second) = (0, 0);
    loop {
        let start = buffer.len();
        let host = hosts.draw(&mut random);
        let page = pages.draw(&mut random);
        second += random.below(3);
        request(&mut buffer, (host, page, second), &mut random)?;
        let after = written + (buffer.len() - start) as u64;
        if after.abs_diff(size_bytes) >= size_bytes.abs_diff(written) {
            buffer.truncate(start);
            break;
        }
        written = after;
        if buffer.len() >= BUFFER_BYTES {
            out.write_all(&buffer)?;
            buffer.clear();
        }
    }
    out.write_all(&buffer)
}

fn request(
    line: &mut Vec<u8>,
    (host, page, second): (u32, u32, u64),
    random: &mut SplitMix64,
) -> io::Result<()> {
    // Scattered, so that neighbours in rank are none in the address.
    let address = host.wrapping_mul(0x9E37_79B1).to_be_bytes();
    let [_, a, b, c] = address;
    let day = FIRST_DAY + second / DAY_SECONDS;
    let (year, month, date) = civil(day);
    let (hour, minute) = (second / 3600 % 24, second / 60 % 60);
    write!(line, "10.{a}.{b}.{c} - ")?;
    match random.below(20) {
        0 => write!(line, "user{}", host % 997)?,
        _ => write!(line, "-")?,
    }
    write!(
        line,
        " [{date:02}/{}/{year}:{hour:02}:{minute:02}:{:02} +0000] ",
        MONTHS[month],
        second % 60
    )?;
    let method = if random.below(25) == 0 { "POST" } else { "GET" };
    write!(line, "\"{method} ")?;
    path(line, page)?;
    let status = pick(&STATUSES, random);
    let bytes = match status {
        304 => 0,
        301 | 404 | 500 => 200 + random.below(400),
        _ => 400 + random.below(1 << 16),
    };
    write!(line, " HTTP/1.1\" {status} ")?;
    match bytes {
        0 => write!(line, "-")?,
        bytes => write!(line, "{bytes}")?,
    }
    match random.below(3) {
        0 => write!(line, " \"-\"")?,
        _ => {
            write!(line, " \"https://www.example.org")?;
            path(line, page / 7)?;
            write!(line, "\"")?;
        }
    }
    writeln!(line, " \"{}\"", AGENTS[host as usize % AGENTS.len()])
}

fn path(line: &mut Vec<u8>, page: u32) -> io::Result<()> {
    let section = SECTIONS[page as usize % SECTIONS.len()];
    let ending = ENDINGS[page as usize / 3 % ENDINGS.len()];
    write!(line, "/{section}/{page:05}{ending}")
}

fn pick<T: Copy, const N: usize>(all: &[T; N], random: &mut SplitMix64) -> T {
    all[usize::try_from(random.below(N as u64)).unwrap_or(0)]
}

/// Year, month from 0, day from 1 of a day since 1970 (2026 and later).
fn civil(day: u64) -> (u64, usize, u64) {
    let mut left = day - FIRST_DAY;
    let mut year = 2026;
    loop {
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let february = if is_leap { 29 } else { 28 };
        let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        for (month, days) in months.into_iter().enumerate() {
            if left < days {
                return (year, month, left + 1);
            }
            left -= days;
        }
        year += 1;
    }
}
