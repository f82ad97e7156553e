//! The pure heart of the control plane: state, commands, apply, scheduler, duties.
