//! A season of basketball, a CSV record for each player in each game.

use std::io::{self, Write};

use super::random::SplitMix64;

const BUFFER_BYTES: usize = 256 * 1024;
/// Midnight of 22 October 2024, in days since the first of that month.
const FIRST_DAY: u64 = 21;
const TEAMS: [&str; 12] = [
    "ALD", "BRK", "CLF", "DAL", "ELM", "FRD", "GLN", "HVN", "IVY", "KNO", "LOC", "MRE",
];
const PLAYERS_A_TEAM: u64 = 12;
const FIRST_NAMES: [&str; 16] = [
    "Aron", "Bela", "Cato", "Dario", "Emil", "Fabio", "Goran", "Hugo", "Ivo", "Jonas", "Karim",
    "Luka", "Milo", "Nils", "Omar", "Pavel",
];
const LAST_NAMES: [&str; 18] = [
    "Alm", "Brandt", "Costa", "Dahl", "Evers", "Falk", "Grün", "Holm", "Iversen", "Jansen",
    "Kovač", "Lund", "Moreau", "Novak", "Okoro", "Petrov", "Quist", "Rossi",
];
const POSITIONS: [&str; 5] = ["PG", "SG", "SF", "PF", "C"];
const HEADER: &str = "SEASON_YEAR,PLAYER_ID,PLAYER_NAME,POSITION,TEAM_ABBREVIATION,GAME_ID,\
    GAME_DATE,MATCHUP,WL,MIN,FGM,FGA,FG3M,FG3A,FTM,FTA,OREB,DREB,REB,AST,TOV,STL,BLK,PF,PTS,\
    PLUS_MINUS\n";

/// Writes CSV with a header: what each player did in each game. Some names hold a
/// comma and are quoted; who did not play has no minutes. The text ends with the
/// record that brings it to `size_bytes` or just beyond.
///
/// # Errors
///
/// When `out` fails.
pub fn game_logs(size_bytes: u64, seed: u64, out: &mut dyn Write) -> io::Result<()> {
    let mut random = SplitMix64(seed);
    let mut buffer = HEADER.as_bytes().to_vec();
    let mut written = 0;
    for game in 0.. {
        let home = random.below(TEAMS.len() as u64);
        let away = (home + 1 + random.below(TEAMS.len() as u64 - 1)) % TEAMS.len() as u64;
        let margin = 1 + random.below(30);
        for (team, other, sign) in [(home, away, ""), (away, home, "-")] {
            for player in 0..PLAYERS_A_TEAM {
                if written + buffer.len() as u64 >= size_bytes {
                    return out.write_all(&buffer);
                }
                let at_home = sign.is_empty();
                let row = (game, team * PLAYERS_A_TEAM + player);
                record(&mut buffer, row, (team, other, at_home), &mut random)?;
                writeln!(buffer, ",{sign}{margin}")?;
            }
        }
        if buffer.len() >= BUFFER_BYTES {
            out.write_all(&buffer)?;
            written += buffer.len() as u64;
            buffer.clear();
        }
    }
    Ok(())
}

fn pick<'t>(from: &[&'t str], index: u64) -> &'t str {
    let index = index % from.len() as u64;
    from[usize::try_from(index).unwrap_or(0)]
}

/// Everything but the last column.
fn record(
    out: &mut Vec<u8>,
    (game, player): (u64, u64),
    (team, other, at_home): (u64, u64, bool),
    random: &mut SplitMix64,
) -> io::Result<()> {
    let (team, other) = (pick(&TEAMS, team), pick(&TEAMS, other));
    let name = format!(
        "{} {}",
        pick(&FIRST_NAMES, player * 7),
        pick(&LAST_NAMES, player / 16 + player * 5)
    );
    let name = match player % 40 {
        39 => format!("\"{name}, Jr.\""),
        _ => name,
    };
    let position = pick(&POSITIONS, player);
    let day = FIRST_DAY + game / 6 % 160;
    let (month, day) = (
        [10, 11, 12, 1, 2, 3][usize::try_from(day / 30).unwrap_or(0) % 6],
        day % 30,
    );
    let year = if month > 9 { 2024 } else { 2025 };
    let (sign, result) = if at_home { ("vs.", "W") } else { ("@", "L") };
    write!(
        out,
        "2024-25,{},{name},{position},{team},00224{game:05},{year}-{month:02}-{:02}T00:00:00,\
         {team} {sign} {other},{result},",
        1_600_000 + player * 31,
        day.min(27) + 1,
    )?;
    if random.below(12) == 0 {
        return write!(out, ",0,0,0,0,0,0,0,0,0,0,0,0,0,0,0");
    }
    let minutes = 4 + random.below(38);
    let tries = minutes / 3 + random.below(6);
    let goals = tries * (30 + random.below(35)) / 100;
    let (far_tries, free_tries) = (random.below(tries + 1) / 2, random.below(9));
    let far = goals.min(far_tries * (20 + random.below(40)) / 100);
    let free = free_tries * (60 + random.below(41)) / 100;
    let (off, def) = (random.below(4), random.below(9));
    let others: [u64; 5] = [10, 6, 4, 4, 6].map(|below| random.below(below));
    let points = 2 * goals + far + free;
    write!(
        out,
        "{minutes}.{:02},{goals},{tries},{far},{far_tries},{free},{free_tries},{off},{def},{},",
        random.below(100),
        off + def,
    )?;
    for other in others {
        write!(out, "{other},")?;
    }
    write!(out, "{points}")
}
