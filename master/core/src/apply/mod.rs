//! Turns committed commands into state, replies and events.
//!
//! Total: every command has a reply, and a refused one changes nothing.
//! Deterministic: nothing but the state and the entry is read. All that follows
//! from a command becomes true in the same entry, so there is no state between
//! "the last reduce was accepted" and "the job commits" in which a leader could
//! die.
//!
//! One file per command; what several commands cause stands in `effects`.
//!
//! Behind `cfg(vivat_seeded_bug = "NAME")` stand mistakes that nobody makes on
//! purpose twice: `tests/seeded-bugs` compiles them in, one after the other, and
//! fails unless the simulation finds each.

mod abandon_dataset;
mod append_blocks;
mod append_plan;
mod assign_attempts;
mod cancel_job;
mod change_replicas;
mod change_value;
mod drain_worker;
mod effects;
mod expire_worker;
mod finish_attempt;
mod finish_close;
mod finish_notice;
mod forget_job;
mod judge_segment;
mod open_dataset;
mod open_term;
mod register_worker;
mod remove_dataset;
mod report_fetch_failure;
mod restore_segments;
mod retry_job;
mod seal_dataset;
mod submit_job;
mod time_out_job;

use crate::command::{Applied, Command, DataCommand, Event, Proposal, Rejection, Reply};
use crate::state::State;

/// What a command writes to.
struct Context<'a> {
    state: &'a mut State,
    /// Log index of the entry.
    index: u64,
    events: Vec<Event>,
}

/// Applies one entry. Its index must be above [`State::applied_index`].
pub fn apply(state: &mut State, index: u64, proposal: &Proposal) -> Applied {
    state.now_ms = proposal.proposed_at_ms;
    if proposal.term == state.term {
        state.age_ms = state.age_ms.max(proposal.age_ms);
    }
    if cfg!(vivat_seeded_bug = "nondeterminism") {
        // Mistake 5: where a replica's state happens to lie differs.
        let address = std::ptr::from_ref(state).addr();
        state.now_ms += (address / 8 % 7) as u64;
    }
    let mut context = Context {
        state,
        index,
        events: Vec::new(),
    };
    let replies = proposal
        .commands
        .iter()
        .map(|command| dispatch(&mut context, command).unwrap_or_else(Reply::Rejected))
        .collect();
    let applied = Applied {
        replies,
        events: context.events,
    };
    state.seal(index, &applied);
    applied
}

fn dispatch(context: &mut Context<'_>, command: &Command) -> Result<Reply, Rejection> {
    match command {
        Command::OpenTerm {
            term,
            cluster,
            leader,
        } => open_term::apply(context, *term, *cluster, leader),
        Command::SubmitJob { key, spec } => submit_job::apply(context, key, spec),
        Command::CancelJob { job } => cancel_job::apply(context, *job),
        Command::TimeOutJob { job } => time_out_job::apply(context, *job),
        Command::RegisterWorker { info, crashed } => register_worker::apply(context, info, crashed),
        Command::RestoreSegments { worker, held } => {
            restore_segments::apply(context, *worker, held)
        }
        Command::ExpireWorker {
            worker,
            term,
            reason,
        } => expire_worker::apply(context, *worker, *term, reason),
        Command::DrainWorker {
            worker,
            draining,
            deadline_ms,
        } => drain_worker::apply(context, *worker, *draining, *deadline_ms),
        Command::RevokeAttempts { worker, term } => {
            drain_worker::revoke_attempts(context, *worker, *term)
        }
        Command::AssignAttempts { term, grants } => assign_attempts::apply(context, *term, grants),
        Command::AppendPlan {
            attempt,
            worker,
            chunk,
            content,
        } => append_plan::apply(context, *attempt, *worker, *chunk, content),
        Command::FinishAttempt {
            attempt,
            worker,
            outcome,
        } => finish_attempt::apply(context, *attempt, *worker, outcome),
        Command::ReportFetchFailure { worker, failure } => {
            report_fetch_failure::apply(context, *worker, failure)
        }
        Command::JudgeSegment {
            term,
            map,
            holder,
            healthy,
        } => judge_segment::apply(context, *term, *map, *holder, *healthy),
        Command::ForgetJob { job } => forget_job::apply(context, *job),
        Command::RetryJob { key, job } => retry_job::apply(context, key, *job),
        Command::GiveUpNotice { job } => finish_notice::give_up(context, *job),
        Command::Data(command) => dispatch_data(context, command),
    }
}

fn dispatch_data(context: &mut Context<'_>, command: &DataCommand) -> Result<Reply, Rejection> {
    match command {
        DataCommand::OpenDataset { key, spec } => open_dataset::apply(context, key, spec),
        DataCommand::AppendBlocks {
            dataset,
            first,
            blocks,
        } => append_blocks::apply(context, *dataset, *first, blocks),
        DataCommand::SealDataset { dataset, seal } => seal_dataset::apply(context, *dataset, seal),
        DataCommand::AbandonDataset { dataset, term } => {
            abandon_dataset::apply(context, *dataset, *term)
        }
        DataCommand::RemoveDataset {
            name,
            dataset,
            when_unread,
        } => remove_dataset::apply(context, name, *dataset, *when_unread),
        DataCommand::AddReplicas { worker, blocks } => {
            change_replicas::add(context, *worker, blocks)
        }
        DataCommand::DropReplicas {
            worker,
            blocks,
            surplus,
        } => change_replicas::drop(context, *worker, blocks, *surplus),
        DataCommand::PutValue {
            key,
            name,
            value,
            expect_version,
        } => change_value::put(context, key, name, value, *expect_version),
        DataCommand::RemoveValue {
            key,
            name,
            expect_version,
        } => change_value::remove(context, key, name, *expect_version),
    }
}
