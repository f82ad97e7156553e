//! What several commands cause. Each effect writes the state and names the
//! facts; whether it may happen was decided by its caller.

mod attempts;
mod ending;
mod history;
mod logs;
mod notices;
mod output;
mod rounds;
mod workers;

pub(super) use attempts::{
    Lost, accept, charge_loss, crash_failure, input_of, lose_map, release, revoke,
};
pub(super) use ending::end_job;
pub(super) use logs::{LogOf, forget_kept, keep_log};
pub(super) use notices::{Told, drop_notice, end_try};
pub(super) use output::{finish_output, lose_outputs, output_name, release_dataset};
pub(super) use rounds::{close_round, end_work, fail_job, let_go, open_output};
pub(super) use workers::expire;
