//! `wasmill completions`.

use clap::CommandFactory;

use super::{
    EXIT_DONE,
    args::{Args, CompletionsArgs},
    show,
};

pub(super) fn completions(args: CompletionsArgs) -> anyhow::Result<u8> {
    show::out(|out| {
        clap_complete::generate(args.shell, &mut Args::command(), "wasmill", out);
        Ok(())
    })?;
    Ok(EXIT_DONE)
}
