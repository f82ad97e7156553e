//! Every flag's variable: `VIVAT_<COMMAND>_<FLAG>`, given to clap so that it
//! types them as it types flags.

use clap::Command;

use crate::config::settable;

/// The grammar with a variable for every flag that has none of its own.
pub fn name_all(grammar: Command) -> Command {
    name_below(grammar, "VIVAT")
}

fn name_below(command: Command, prefix: &str) -> Command {
    let named = command.mut_args(|arg| {
        let Some(flag) = arg.get_long().filter(|_| settable(&arg)) else {
            return arg;
        };
        if arg.get_env().is_some() {
            return arg;
        }
        let variable = upper(&format!("{prefix}_{flag}"));
        arg.env(variable).hide_env(true)
    });
    let subcommands: Vec<String> = named
        .get_subcommands()
        .map(|sub| sub.get_name().to_owned())
        .collect();
    subcommands.into_iter().fold(named, |command, name| {
        let below = upper(&format!("{prefix}_{name}"));
        command.mut_subcommand(name, |sub| name_below(sub, &below))
    })
}

fn upper(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn flag_of_a_nested_command_has_its_variable() {
        let grammar = super::name_all(crate::args::Cli::command());
        let words = grammar
            .find_subcommand("gen")
            .and_then(|command| command.find_subcommand("words"))
            .unwrap();
        let size = words
            .get_arguments()
            .find(|arg| arg.get_long() == Some("size"))
            .unwrap();
        assert_eq!(size.get_env().unwrap(), "VIVAT_GEN_WORDS_SIZE");
    }
}
