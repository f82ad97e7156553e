//! Makes an [`Executable`] of a program: the place where its types end.

use vivat_mapreduce::Program;

use crate::close::{self, CloseReport, CloseTask};
use crate::error::EngineError;
use crate::task::{Executable, MapReport, MapTask, ReduceReport, ReduceTask};
use crate::{map, reduce};

/// A program that the worker can run: the engine compiled for it.
#[derive(Debug, Clone)]
pub struct Runner<P> {
    program: P,
}

impl<P: Program> Runner<P> {
    /// Wraps a program.
    pub const fn new(program: P) -> Self {
        Self { program }
    }
}

impl<P: Program> Executable for Runner<P> {
    fn map(&self, task: &mut MapTask<'_>) -> Result<MapReport, EngineError> {
        map::run(&self.program, task)
    }

    fn reduce(&self, task: &mut ReduceTask<'_>) -> Result<ReduceReport, EngineError> {
        reduce::run(&self.program, task)
    }

    fn close(&self, task: &mut CloseTask<'_>) -> Result<CloseReport, EngineError> {
        close::run(&self.program, task)
    }

    fn closes(&self) -> bool {
        P::CLOSES
    }
}
