//! The `tracera` command.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use tracera::cli::{self, Cli, Command, SessionsCommand, UsersCommand};
use tracera::config::{Config, Mode};
use tracera::demo::Demo;
use tracera::{operator, start, telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    match parse().command {
        Command::Healthcheck => cli::check_health().await,
        Command::CheckConfig { connect } => cli::check_config(connect).await,
        Command::SendTestMail { address } => {
            let send = cli::operate(cli::load_config(Mode::Serve), async |config| {
                operator::send_test_mail(&config, &address).await
            });
            Box::pin(send).await
        }
        Command::Secret => cli::print_secret(),
        Command::Dev { demo: true } => match cli::load_demo().await {
            Ok((config, demo)) => serve(config, Mode::Dev, Some(demo)).await,
            Err(status) => status,
        },
        Command::Dev { demo: false } => load_and_serve(Mode::Dev).await,
        Command::Serve => load_and_serve(Mode::Serve).await,
        Command::Migrate => {
            cli::operate(cli::load_database(), async |database| operator::migrate(&database).await)
                .await
        }
        Command::Sessions(command) => {
            cli::operate(cli::load_config(Mode::Serve), async |config| match command {
                SessionsCommand::List { user } => operator::list_sessions(&config, &user).await,
                SessionsCommand::Revoke { user, handle } => {
                    operator::revoke_sessions(&config, &user, handle.as_deref()).await
                }
            })
            .await
        }
        Command::Users(command) => {
            cli::operate(cli::load_config(Mode::Serve), async |config| match command {
                UsersCommand::ResetWaysIn { user } => operator::reset_ways_in(&config, &user).await,
            })
            .await
        }
    }
}

/// The command line. `TRACERA_COMMIT`, set when building, becomes a part of the version; only this
/// file is compiled anew when it changes.
fn parse() -> Cli {
    let mut command = Cli::command();
    if let Some(commit) = option_env!("TRACERA_COMMIT") {
        let version: &str = format!("{} ({commit})", env!("CARGO_PKG_VERSION")).leak();
        command = command.version(version);
    }
    Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
}

async fn load_and_serve(mode: Mode) -> ExitCode {
    match cli::load_config(mode) {
        Ok(config) => serve(config, mode, None).await,
        Err(status) => status,
    }
}

async fn serve(config: Config, mode: Mode, demo: Option<Demo>) -> ExitCode {
    let log = match telemetry::init(&config.log) {
        Ok(log) => log,
        Err(error) => return cli::could_not_start(&error),
    };
    let ended = start::run(&config, mode, demo.as_ref()).await;
    drop(log);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => cli::could_not_start(&error),
    }
}
