//! The links of a web that never was.

use std::io::{self, Write};

use super::random::{AliasTable, SplitMix64};

/// Pages that others link to.
const PAGES: u32 = 50_000;
/// Hosts that they lie on.
const HOSTS: u32 = 997;
/// A page links to one page more than a draw below this.
const LINKS_SPREAD: u64 = 16;
const BUFFER_BYTES: usize = 256 * 1024;

/// Writes lines of a page and the pages that it links to, with tabs between. Few
/// pages are linked to by most, as Zipf's law says; some links are there twice. The
/// text ends with the line that brings it to `size_bytes` or just beyond.
///
/// # Errors
///
/// When `out` fails.
pub fn links(size_bytes: u64, seed: u64, out: &mut dyn Write) -> io::Result<()> {
    let pages = AliasTable::zipf(PAGES);
    let mut random = SplitMix64(seed);
    let mut buffer = Vec::with_capacity(BUFFER_BYTES + 4096);
    let (mut written, mut number) = (0, 0);
    while written + (buffer.len() as u64) < size_bytes {
        // Every page is a source once before any is again; the least known first.
        page(&mut buffer, PAGES - 1 - number % PAGES)?;
        number = number.wrapping_add(1);
        for _ in 0..=random.below(LINKS_SPREAD) {
            buffer.push(b'\t');
            page(&mut buffer, pages.draw(&mut random))?;
        }
        buffer.push(b'\n');
        if buffer.len() >= BUFFER_BYTES {
            out.write_all(&buffer)?;
            written += buffer.len() as u64;
            buffer.clear();
        }
    }
    out.write_all(&buffer)
}

fn page(out: &mut Vec<u8>, rank: u32) -> io::Result<()> {
    let (host, place) = (rank % HOSTS, rank / HOSTS);
    write!(out, "https://host{host}.example/page{place}.html")
}
