//! The grammar of `vivat mrjob`.

use clap::Args;

use super::job::JobArgs;

/// `vivat mrjob`
#[derive(Debug, Args)]
#[command(
    long_about = "Run an mrjob script as it is, and print its result.\n\nThe script is asked for \
        its steps; each becomes a step of one job, whose mappers, combiners and reducers are the \
        script's, run by `exec` on the workers. The script and the files that it names go with \
        the job; workers need Python, and mrjob unless `-- --bootstrap-mrjob` sends it along.",
    after_help = "Examples:\n  vivat mrjob word_freq.py 'books/*.txt'\n  \
        vivat mrjob top_words.py books/*.txt --reducers 2 -- --top 20\n  \
        vivat mrjob --python venv/bin/python stop_words.py a.txt --output out -- --stop list.txt"
)]
pub struct MrjobArgs {
    /// Python that has mrjob; tasks run with it too
    #[arg(long, value_name = "PYTHON", env = "VIVAT_PYTHON")]
    pub python: Option<String>,
    /// The script
    #[arg(value_name = "SCRIPT.py")]
    pub script: String,
    /// Files or globs of this machine, or file:///PATH that every worker sees
    #[arg(value_name = "INPUT")]
    pub inputs: Vec<String>,
    /// What the script itself is given, as when it is run alone
    #[arg(value_name = "ARGS", last = true)]
    pub arguments: Vec<String>,
    /// How to run it.
    #[command(flatten)]
    pub job: JobArgs,
}
