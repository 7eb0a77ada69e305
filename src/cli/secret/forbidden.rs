//! Secrets where others can read them are refused, with the right way named.

use std::ffi::OsString;

use super::super::exit::Failure;
use super::form;

/// Refuses a command line with an option that would hold a secret, such as `--passphrase`.
///
/// # Errors
/// When there is one; its value is not repeated.
pub fn refuse_in_arguments(args: &[OsString]) -> Result<(), Failure> {
    let options = args.iter().take_while(|a| *a != "--");
    for name in options.filter_map(|a| a.to_str()?.strip_prefix("--")) {
        refuse_name("--", name)?;
    }
    Ok(())
}

/// Refuses a mount option that would hold a secret, such as `passphrase=`.
///
/// # Errors
/// As [`refuse_in_arguments`].
pub fn refuse_in_options<'a>(options: impl Iterator<Item = &'a str>) -> Result<(), Failure> {
    for option in options {
        refuse_name("-o ", option)?;
    }
    Ok(())
}

/// Refuses an environment with a variable that would hold a secret, such as `COFFER_PASSPHRASE`.
///
/// # Errors
/// When there is one; its value is not repeated.
pub fn refuse_in_environment(names: impl Iterator<Item = OsString>) -> Result<(), Failure> {
    for name in names.filter_map(|name| name.into_string().ok()) {
        let secret = name.strip_prefix("COFFER_").is_some_and(|rest| {
            ["PASS", "SECRET", "KEY"]
                .iter()
                .any(|word| rest.contains(word))
        });
        if secret {
            let mut refusal = form(&format!(
                "the environment variable {name} exposes a secret to every process that inherits it"
            ));
            refusal.next = format!("run `unset {name}`; then {}", refusal.next);
            return Err(refusal);
        }
    }
    Ok(())
}

fn refuse_name(dashes: &str, option: &str) -> Result<(), Failure> {
    let name = option.split('=').next().unwrap_or_default();
    let lower = name.to_ascii_lowercase();
    if lower.starts_with("pass") || matches!(lower.as_str(), "pw" | "pwd" | "key") {
        return Err(form(&format!(
            "the option `{dashes}{name}` would show the secret to every user of this host"
        )));
    }
    Ok(())
}
