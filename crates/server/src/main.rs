//! The `tracera` command.

use std::process::ExitCode;

use clap::Parser;
use tracera::cli::{self, Cli, Command, SessionsCommand};
use tracera::config::Mode;
use tracera::{operator, start, telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().command {
        Command::CheckConfig => cli::check_config(),
        Command::Secret => cli::print_secret(),
        Command::Dev => serve(Mode::Dev).await,
        Command::Serve => serve(Mode::Serve).await,
        Command::Migrate => cli::operate(async |config| operator::migrate(&config).await).await,
        Command::Sessions(SessionsCommand::List { user }) => {
            cli::operate(async |config| operator::list_sessions(&config, &user).await).await
        }
        Command::Sessions(SessionsCommand::Revoke { user, handle }) => {
            cli::operate(async |config| operator::revoke_sessions(&config, &user, handle.as_deref()).await)
                .await
        }
    }
}

async fn serve(mode: Mode) -> ExitCode {
    let config = match cli::load_config(mode) {
        Ok(config) => config,
        Err(status) => return status,
    };
    let log = match telemetry::init(&config.log) {
        Ok(log) => log,
        Err(error) => return cli::could_not_start(&error),
    };
    let ended = start::run(&config, mode).await;
    drop(log);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => cli::could_not_start(&error),
    }
}
