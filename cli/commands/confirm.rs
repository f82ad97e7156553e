//! The question before what cannot be undone.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::failure::{Failure, exit};

/// Asks on a terminal; elsewhere only `--yes` will do.
///
/// # Errors
///
/// Exit 2 where nobody can be asked, 7 when the answer is no.
pub async fn confirm(yes: bool, question: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(
            Failure::usage(format!("{question} Nobody can be asked here"))
                .hint("give --yes if that is meant"),
        );
    }
    let question = question.to_owned();
    let answer = tokio::task::spawn_blocking(move || ask(&question)).await;
    let is_yes = answer
        .map_err(|error| Failure::failed(error.to_string()))?
        .map_err(|error| Failure::failed(format!("cannot ask: {error}")))?;
    if is_yes {
        return Ok(());
    }
    Err(Failure::new("cancelled", exit::CANCELLED, "not confirmed"))
}

fn ask(question: &str) -> io::Result<bool> {
    let mut terminal = io::stderr().lock();
    write!(terminal, "{question} [y/N] ")?;
    terminal.flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let answer = line.trim().to_lowercase();
    Ok(answer == "y" || answer == "yes")
}
