//! The `tracera` command.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use tracera::cli::{self, Cli, Command, OneUser, SessionsCommand, UsersCommand};
use tracera::config::{Config, Mode};
use tracera::demo::Demo;
use tracera::operator::{accounts, backup};
use tracera::{operator, start, telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    match parse().command {
        Command::Healthcheck => cli::check_health().await,
        Command::CheckConfig { connect } => cli::check_config(connect).await,
        Command::SendTestMail { address } => {
            cli::operate(cli::load_config(Mode::Serve), async |config| {
                Box::pin(operator::send_test_mail(&config, &address)).await
            })
            .await
        }
        Command::Secret => cli::print_secret(),
        Command::Version { verbose } => cli::print_version(&command(), COMMIT, verbose),
        Command::Completions { shell } => cli::print_completions(command(), shell),
        Command::Manpage => cli::print_manual(command()),
        Command::Backup { directory } => {
            cli::operate(cli::load_config(Mode::Serve), async |config| {
                backup::backup(&config, &directory).await
            })
            .await
        }
        Command::Users(command) => {
            let operation =
                cli::operate(cli::load_config(Mode::Serve), async |config| match command {
                    UsersCommand::List => accounts::list(&config).await,
                    UsersCommand::Show(OneUser { user }) => accounts::show(&config, &user).await,
                    UsersCommand::Disable(OneUser { user }) => {
                        accounts::disable(&config, &user).await
                    }
                    UsersCommand::Enable(OneUser { user }) => {
                        accounts::enable(&config, &user).await
                    }
                    UsersCommand::Delete(OneUser { user }) => {
                        accounts::delete(&config, &user).await
                    }
                    UsersCommand::ResetWaysIn(OneUser { user }) => {
                        operator::reset_ways_in(&config, &user).await
                    }
                });
            Box::pin(operation).await
        }
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
                SessionsCommand::Revoke { user: Some(user), handle, .. } => {
                    operator::revoke_sessions(&config, &user, handle.as_deref()).await
                }
                SessionsCommand::Revoke { .. } => accounts::revoke_everybody(&config).await,
            })
            .await
        }
    }
}

/// Set at build time. It is used only in this file, so that a new commit recompiles nothing else.
const COMMIT: Option<&str> = option_env!("TRACERA_COMMIT");

/// The command line, with the commit in its version.
fn command() -> clap::Command {
    let command = Cli::command();
    match COMMIT {
        Some(commit) => {
            let version: &str = format!("{} ({commit})", env!("CARGO_PKG_VERSION")).leak();
            command.version(version)
        }
        None => command,
    }
}

fn parse() -> Cli {
    Cli::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.exit())
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
