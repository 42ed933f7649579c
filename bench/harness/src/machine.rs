//! The machine of the measurements.

use std::process::Command;

use anyhow::Context;

/// A Markdown paragraph with the machine, its software and the date.
pub(crate) fn describe() -> anyhow::Result<String> {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism()?;
    Ok(format!(
        "{model}, {cores} cores shared by server, Redis and load · Linux {} · {} · {} · node {} · \
         {}",
        output("uname", &["-r"])?,
        output("rustc", &["--version"])?,
        output("redis-server", &["--version"])?.split(" sha").next().unwrap_or_default(),
        output("node", &["--version"])?,
        output("date", &["--utc", "+%Y-%m-%d"])?,
    ))
}

fn output(program: &str, args: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(args).output().with_context(|| program.to_owned())?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
