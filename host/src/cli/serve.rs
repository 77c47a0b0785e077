//! The control API of `wasmill run`.

use std::sync::Arc;

use super::{args::ServeArgs, place::runtime_folder, show};
use crate::{
    control::{ControlError, MetricsAccess, RuntimeFolder, Server, ServerOptions},
    job::Live,
};

/// Serves the control API of a job, unless that is not wanted. A job whose name is taken does not run; one that can't be served for another reason does, if nobody asked for an address.
pub(super) fn serve(args: &ServeArgs, job: &str, live: &Arc<Live>) -> anyhow::Result<Option<Server>> {
    if args.no_control {
        return Ok(None);
    }
    match start(args, job, live) {
        Ok(server) => {
            if args.listen.is_some() {
                announce(&server);
            }
            Ok(Some(server))
        }
        Err(error @ ControlError::Running { .. }) => Err(error.into()),
        Err(error) if args.listen.is_some() => Err(error.into()),
        Err(error) => {
            show::say(&format!("warning: the job runs without a control API: {error}; --no-control asks for none"));
            Ok(None)
        }
    }
}

fn start(args: &ServeArgs, job: &str, live: &Arc<Live>) -> Result<Server, ControlError> {
    let claim = RuntimeFolder::make(&runtime_folder())?.claim(job)?;
    let metrics = if args.open_metrics { MetricsAccess::Open } else { MetricsAccess::WithToken };
    let listen = args.listen.unwrap_or(([127, 0, 0, 1], 0).into());
    Server::start(claim, Arc::clone(live), ServerOptions { listen, metrics })
}

fn announce(server: &Server) {
    let address = server.address();
    show::say(&format!("control API at http://{address}; its tokens are in {}", server.entry().display()));
    if !address.ip().is_loopback() {
        show::say(
            "warning: other machines can reach the control API; who learns the token can replace the job's operators, and nothing is encrypted",
        );
    }
}
