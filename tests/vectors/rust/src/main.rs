//! Checks the language-neutral vectors: `retainer-vectors FOLDER` derives every value in them again and compares.
//!
//! It shares no code with the Python kernel or the program, and uses no Solana library: what it needs beyond hashes,
//! signatures and JSON is written out in `solana.rs`, so that it can serve as a reference for other languages.

mod checks;
mod solana;

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(folder) = std::env::args().nth(1) else {
        eprintln!("usage: retainer-vectors FOLDER");
        return ExitCode::from(2);
    };
    let mut failed = false;
    for (name, check) in checks::ALL {
        let path = format!("{folder}/{name}.json");
        let outcome = std::fs::read_to_string(&path)
            .map_err(|error| format!("{path}: {error}"))
            .and_then(|text| serde_json::from_str(&text).map_err(|error| format!("{path}: {error}")))
            .and_then(|vectors| check(&vectors));
        match outcome {
            Ok(count) => println!("{name}: {count} values derived again"),
            Err(reason) => {
                println!("{name}: WRONG: {reason}");
                failed = true;
            }
        }
    }
    ExitCode::from(u8::from(failed))
}
