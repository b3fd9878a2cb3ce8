//! The arguments of every command that reads `mayfly.yaml`.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::{
    config::{self, Config, ConfigErrors, LoadOptions},
    serve::follow::Followed,
};

// No doc comment: clap would print it as the help of the command that takes these up.
#[derive(Debug, Args)]
pub(super) struct Configuration {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Allow the published development keys, which everyone has
    #[arg(long)]
    dev: bool,
}

impl Configuration {
    /// Reads the configuration; as often as it is asked to.
    ///
    /// # Errors
    /// Every mistake in it.
    pub(super) fn load(&self) -> Result<Config, ConfigErrors> {
        config::load(&self.config, self.options())
    }

    /// Reads the configuration, and follows its files from then on.
    ///
    /// # Errors
    /// Every mistake in it.
    pub(super) fn follow(&self) -> Result<(Config, Followed), ConfigErrors> {
        Followed::load(&self.config, self.options())
    }

    /// As it was given.
    pub(super) fn path(&self) -> &Path {
        &self.config
    }

    pub(super) fn options(&self) -> LoadOptions {
        LoadOptions { dev: self.dev }
    }
}
