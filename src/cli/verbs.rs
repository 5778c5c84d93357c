//! The verbs of the command line, as clap's derive would have them, but for one thing: the arguments of a verb are
//! described when that verb is asked for. To describe those of all takes longer than many a verb itself.

use clap::Args;

/// Makes `enum Command` of lines `"name" Variant(Arguments) "what it does";`.
macro_rules! verbs {
    ($($name:literal $variant:ident($arguments:ty) $about:literal;)*) => {
        #[derive(Debug)]
        enum Command {
            $(#[doc = $about] $variant($arguments),)*
        }

        impl clap::Subcommand for Command {
            fn augment_subcommands(command: clap::Command) -> clap::Command {
                command$(.subcommand($crate::cli::verbs::verb::<$arguments>($name, $about)))*
            }

            fn augment_subcommands_for_update(command: clap::Command) -> clap::Command {
                Self::augment_subcommands(command)
            }

            fn has_subcommand(name: &str) -> bool {
                [$($name),*].contains(&name)
            }
        }

        impl clap::FromArgMatches for Command {
            fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
                match matches.subcommand() {
                    $(Some(($name, matches)) => {
                        Ok(Self::$variant(clap::FromArgMatches::from_arg_matches(matches)?))
                    })*
                    _ => Err(clap::Error::new(clap::error::ErrorKind::MissingSubcommand)),
                }
            }

            fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
                *self = Self::from_arg_matches(matches)?;
                Ok(())
            }
        }
    };
}

pub(super) use verbs;

/// A verb whose arguments are described on demand.
pub(super) fn verb<A: Args>(name: &'static str, about: &'static str) -> clap::Command {
    clap::Command::new(name).about(about).defer(|command| {
        let about = command.get_about().cloned();
        A::augment_args(command)
            .about(about.unwrap_or_default())
            .long_about(None)
    })
}
