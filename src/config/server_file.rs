//! `mayfly.yaml` -> [`Config`].

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::{
    Authority, Config, ConfigErrors, Fault, IssuerFile, Limits, LoadOptions, LogChoice, Mistake,
    NextLogKey, PassphraseSource, Position, UrlFault, client_algorithms,
    document::{self, Content, Node},
    fault::Suggestion,
    fields::{Fields, Located, Mistakes, Spelling, items_of, text_of},
    limits, read_bounded,
};
use crate::{
    api::http::tls::TlsFiles,
    identity::Profiles,
    keys::{KeyUri, dev},
    oidc::IssuerSettings,
    policy::ClientAlgorithms,
    time::Timestamp,
    x509::Certificate,
};

/// `text` is what the file at `path` holds, or is to hold.
pub(super) fn load(
    path: &Path,
    text: Result<String, Fault>,
    options: LoadOptions,
) -> Result<Config, ConfigErrors> {
    let mut mistakes = Mistakes::in_file(path);
    let mut elsewhere = Vec::new();
    let root = read_root(text, &mut mistakes);
    let config = root.and_then(|root| {
        let directory = path.parent().unwrap_or(Path::new(""));
        let mut reader =
            Reader { directory, options, mistakes: &mut mistakes, elsewhere: &mut elsewhere };
        reader.config(&root)
    });
    let mut errors = mistakes.into_errors();
    errors.mistakes.append(&mut elsewhere);
    match config {
        Some(config) if errors.mistakes.is_empty() => Ok(Config { files: errors.files, ..config }),
        _ => Err(errors),
    }
}

/// The document in a text; notes why there is none.
fn read_root(text: Result<String, Fault>, mistakes: &mut Mistakes) -> Option<Node> {
    let text = text.map_err(|fault| mistakes.add_for_file(fault)).ok()?;
    match document::read(&text) {
        Ok(Some(root)) => Some(root),
        Ok(None) => {
            mistakes.add_for_file(Fault::Empty);
            None
        }
        Err((at, fault)) => {
            mistakes.add(at, fault);
            None
        }
    }
}

/// What reading the file needs at every step.
struct Reader<'a> {
    directory: &'a Path,
    options: LoadOptions,
    mistakes: &'a mut Mistakes,
    /// Mistakes in the files that this one names.
    elsewhere: &'a mut Vec<Mistake>,
}

impl Reader<'_> {
    /// `None` if anything is missing; what and why is among the mistakes.
    fn config(&mut self, root: &Node) -> Option<Config> {
        let mut fields = Fields::of(root, "mayfly.yaml", Spelling::Kebab, self.mistakes)?;
        let listen = self.address(&mut fields, "listen");
        let speaks_tls = fields.has("tls");
        let tls = self.tls(&mut fields);
        let private = self.private(&mut fields);
        let url = self.url(&mut fields, speaks_tls);
        let issuers = self.issuers(&mut fields);
        let authorities = self.authorities(&mut fields);
        let log = self.log(&mut fields);
        let (log, next_log) = log.unzip();
        let next_log = next_log.flatten();
        let audit = self.path(&mut fields, "audit");
        let client_algorithms = self.client_algorithms(&mut fields);
        let limits = self.limits(&mut fields);
        self.not_built(&mut fields, "policy", "a policy ('policy')");
        fields.refuse_rest(self.mistakes);
        self.key_roles(authorities.as_deref(), log.as_ref(), next_log.as_ref());
        self.precertificates_are_logged(authorities.as_deref(), log.as_ref());
        let (issuers_path, issuers, profiles) = issuers?;
        Some(Config {
            listen: listen?,
            tls: tls?,
            private: private?,
            url: url?,
            issuers_path,
            issuers,
            profiles,
            authorities: authorities?.into_iter().map(|located| located.value).collect(),
            log: log?.value,
            next_log: next_log.map(|located| located.value),
            audit: audit?,
            client_algorithms: client_algorithms?,
            limits: limits?,
            dev: self.options.dev,
            files: Vec::new(),
            files_sha256: None,
        })
    }

    /// Without a log there are no precertificates.
    fn precertificates_are_logged(
        &mut self,
        authorities: Option<&[Located<Authority>]>,
        log: Option<&Located<LogChoice>>,
    ) {
        let signs = |authority: &&Located<Authority>| authority.value.precertificate_signer;
        if let Some(Located { value: LogChoice::None, .. }) = log
            && let Some(authority) = authorities.and_then(|all| all.iter().find(signs))
        {
            let (first, second) = ("precertificate-signer", "log: none");
            self.mistakes.add(authority.at, Fault::Contradiction { first, second });
        }
    }

    fn address(&mut self, fields: &mut Fields, key: &'static str) -> Option<SocketAddr> {
        let Located { at, value } = fields.required_text(key, self.mistakes)?;
        self.parse_address(key, at, &value)
    }

    fn parse_address(&mut self, key: &str, at: Position, text: &str) -> Option<SocketAddr> {
        let expected = "an address and port such as 127.0.0.1:5555 or [::]:5555";
        let fault = Fault::Expected { key: key.to_owned(), expected };
        self.mistakes.keep(at, text.parse().map_err(|_| fault))
    }

    /// The outer `None` is a mistake, the inner `private: none`.
    fn private(&mut self, fields: &mut Fields) -> Option<Option<SocketAddr>> {
        if !fields.has("private") {
            return Some(Some(SocketAddr::from(DEFAULT_PRIVATE)));
        }
        let Located { at, value } = fields.text("private", self.mistakes)?;
        if value == "none" {
            return Some(None);
        }
        self.parse_address("private", at, &value).map(Some)
    }

    /// The outer `None` is a mistake, the inner a port without TLS.
    fn tls(&mut self, fields: &mut Fields) -> Option<Option<TlsFiles>> {
        let Some(node) = fields.take("tls", self.mistakes) else { return Some(None) };
        let mut fields = Fields::of(&node, "tls", Spelling::Kebab, self.mistakes)?;
        let (cert, key) = (self.path(&mut fields, "cert"), self.path(&mut fields, "key"));
        fields.refuse_rest(self.mistakes);
        Some(Some(TlsFiles { cert: cert?, key: key? }))
    }

    fn url(&mut self, fields: &mut Fields, speaks_tls: bool) -> Option<url::Url> {
        let Located { at, value } = fields.required_text("url", self.mistakes)?;
        // Trust documents would send clients to a port that does not speak so.
        if speaks_tls && value.starts_with("http:") {
            self.mistakes.add(at, Fault::Contradiction { first: "url: http:", second: "tls" });
        }
        let checked =
            check_url(&value).map_err(|reason| Fault::Url { key: "url".to_owned(), reason });
        self.mistakes.keep(at, checked)
    }

    fn issuers(&mut self, fields: &mut Fields) -> Option<(PathBuf, Vec<IssuerSettings>, Profiles)> {
        let path = self.path(fields, "issuers")?;
        let served = IssuerFile::load(&path).and_then(|file| {
            self.mistakes.depend_on(file.files.clone());
            file.for_serving()
        });
        match served {
            Ok((settings, profiles)) => Some((path, settings, profiles)),
            Err(ConfigErrors { mistakes, files }) => {
                self.mistakes.depend_on(files);
                self.elsewhere.extend(mistakes);
                None
            }
        }
    }

    fn path(&mut self, fields: &mut Fields, key: &'static str) -> Option<PathBuf> {
        let text = fields.required_text(key, self.mistakes)?;
        Some(self.directory.join(text.value))
    }

    fn authorities(&mut self, fields: &mut Fields) -> Option<Vec<Located<Authority>>> {
        let node = fields.require("authorities", "", self.mistakes)?;
        let items = items_of("authorities", &node, self.mistakes)?;
        if items.is_empty() {
            let expected = "a list of at least one authority";
            let fault = Fault::Expected { key: "authorities".to_owned(), expected };
            self.mistakes.add(node.at, fault);
        }
        // All are read before the first failure counts, so that all mistakes are found.
        let read: Vec<_> = items.iter().map(|item| self.authority(item)).collect();
        read.into_iter().collect()
    }

    fn authority(&mut self, node: &Node) -> Option<Located<Authority>> {
        let mut fields = Fields::of(node, "an authority", Spelling::Kebab, self.mistakes)?;
        let key = self.key(&mut fields);
        let passphrase = self.passphrase(&mut fields);
        let chain = self.chain(&mut fields);
        let activate = self.time(&mut fields, "activate");
        let retire = self.time(&mut fields, "retire");
        if let (Some(Some(activate)), Some(Some(retire))) = (activate, retire)
            && retire <= activate
        {
            self.mistakes.add(fields.at(), Fault::RetiredBeforeActive);
        }
        let precertificate_signer = self.flag(&mut fields, "precertificate-signer");
        fields.refuse_rest(self.mistakes);
        let key_files = key.iter().filter_map(|key| file_of(&key.value).map(Path::to_owned));
        self.mistakes.depend_on(key_files);
        if let Some(Some(PassphraseSource::File(path))) = &passphrase {
            self.mistakes.depend_on([path.clone()]);
        }
        let Located { at, value: key } = key?;
        let (chain_path, chain) = chain?;
        let value = Authority {
            key,
            passphrase: passphrase?,
            chain,
            chain_path,
            activate: activate?,
            retire: retire?,
            precertificate_signer: precertificate_signer?,
        };
        Some(Located { at, value })
    }

    /// `false` where it is not there; `None` is a mistake.
    fn flag(&mut self, fields: &mut Fields, key: &'static str) -> Option<bool> {
        if fields.has(key) { fields.truth(key, self.mistakes) } else { Some(false) }
    }

    fn key(&mut self, fields: &mut Fields) -> Option<Located<KeyUri>> {
        let Located { at, value } = fields.required_text("key", self.mistakes)?;
        let parsed = value.parse::<KeyUri>().map_err(|source| Fault::Key { source });
        let key = self.mistakes.keep(at, parsed)?.resolved_in(self.directory);
        if let KeyUri::File(path) = &key
            && !self.options.dev
            && dev::is_development_path(path)
        {
            self.mistakes.add(at, Fault::DevelopmentKey);
        }
        Some(Located { at, value: key })
    }

    /// The outer `None` is a mistake.
    fn passphrase(&mut self, fields: &mut Fields) -> Option<Option<PassphraseSource>> {
        if !fields.has("passphrase") {
            return Some(None);
        }
        let Located { at, value } = fields.text("passphrase", self.mistakes)?;
        let source = PassphraseSource::parse(&value)
            .map(|source| source.resolved_in(self.directory))
            // The text is not repeated: it may be the passphrase itself.
            .ok_or_else(|| Fault::Expected {
                key: "passphrase".to_owned(),
                expected: "env:NAME or file:PATH, never the passphrase itself",
            });
        self.mistakes.keep(at, source).map(Some)
    }

    fn chain(&mut self, fields: &mut Fields) -> Option<(PathBuf, Vec<Certificate>)> {
        let Located { at, value } = fields.required_text("chain", self.mistakes)?;
        let path = self.directory.join(value);
        self.mistakes.depend_on([path.clone()]);
        let chain = read_bounded(&path)
            .map_err(|source| Fault::UnreadablePart { path: path.clone(), source })
            .and_then(|pem| {
                Certificate::parse_pem_chain(&pem)
                    .map_err(|source| Fault::Chain { path: path.clone(), source })
            });
        let chain = self.mistakes.keep(at, chain)?;
        let Some(issuing) = chain.first() else {
            self.mistakes.add(at, Fault::NoCertificate { path });
            return None;
        };
        // By its hash, so that a copy under another name is known too.
        if !self.options.dev && dev::is_development_key(issuing.spki_der()) {
            self.mistakes.add(at, Fault::DevelopmentKey);
        }
        Some((path, chain))
    }

    /// The outer `None` is a mistake.
    fn time(&mut self, fields: &mut Fields, key: &'static str) -> Option<Option<Timestamp>> {
        if !fields.has(key) {
            return Some(None);
        }
        let Located { at, value } = fields.text(key, self.mistakes)?;
        let parsed = Timestamp::parse_rfc3339(&value).map_err(|source| Fault::Time { key, source });
        self.mistakes.keep(at, parsed).map(Some)
    }

    /// The log, and the key of the next one if there is one.
    fn log(
        &mut self,
        fields: &mut Fields,
    ) -> Option<(Located<LogChoice>, Option<Located<NextLogKey>>)> {
        let hint = "; to run without a log, say so: `log: none`";
        let node = fields.require("log", hint, self.mistakes)?;
        if let Content::Scalar { text, .. } = &*node.content {
            if text == "none" {
                return Some((Located { at: node.at, value: LogChoice::None }, None));
            }
            let expected = "'none', or a mapping with data, origin and key";
            let suggestion = Suggestion(None);
            let (key, text) = ("log".to_owned(), text.clone());
            self.mistakes.add(node.at, Fault::NotOneOf { key, text, expected, suggestion });
            return None;
        }
        let mut fields = Fields::of(&node, "log", Spelling::Kebab, self.mistakes)?;
        if fields.has("remote") {
            self.not_built(&mut fields, "remote", "a log elsewhere ('log.remote')");
            return None;
        }
        let data = self.path(&mut fields, "data");
        let origin = self.origin(&mut fields);
        let key = self.key(&mut fields);
        let passphrase = self.passphrase(&mut fields);
        let frozen = self.frozen(&mut fields);
        let next = self.next_log(&mut fields);
        fields.refuse_rest(self.mistakes);
        let Located { at, value: key } = key?;
        let (data, origin, passphrase) = (data?, origin?, passphrase?);
        let value = LogChoice::Embedded { data, origin, key, passphrase, frozen: frozen? };
        Some((Located { at, value }, next?))
    }

    fn frozen(&mut self, fields: &mut Fields) -> Option<Vec<PathBuf>> {
        let Some(node) = fields.take("frozen", self.mistakes) else { return Some(Vec::new()) };
        let items = items_of("frozen", &node, self.mistakes)?;
        let paths = items.iter().map(|item| {
            let text = text_of("frozen", item, self.mistakes)?;
            Some(self.directory.join(text.value))
        });
        paths.collect()
    }

    /// The outer `None` is a mistake.
    fn next_log(&mut self, fields: &mut Fields) -> Option<Option<Located<NextLogKey>>> {
        let Some(node) = fields.take("next", self.mistakes) else { return Some(None) };
        let mut fields = Fields::of(&node, "log.next", Spelling::Kebab, self.mistakes)?;
        let (key, passphrase) = (self.key(&mut fields), self.passphrase(&mut fields));
        fields.refuse_rest(self.mistakes);
        let Located { at, value: key } = key?;
        Some(Some(Located { at, value: NextLogKey { key, passphrase: passphrase? } }))
    }

    /// A name of a signed note (C2SP signed-note) that is also a URL without its scheme.
    fn origin(&mut self, fields: &mut Fields) -> Option<String> {
        let Located { at, value } = fields.required_text("origin", self.mistakes)?;
        let checked = url::Url::parse(&format!("https://{value}/"));
        let plain = value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~/:".contains(&b));
        let as_written = checked.is_ok_and(|url| url.as_str() == format!("https://{value}/"));
        let slashes = value.contains("//") || value.ends_with('/');
        if !plain || !as_written || slashes {
            let expected = "a host and path without scheme, such as log.example.com/2026";
            self.mistakes.add(at, Fault::Expected { key: "origin".to_owned(), expected });
            return None;
        }
        Some(value)
    }

    fn client_algorithms(&mut self, fields: &mut Fields) -> Option<ClientAlgorithms> {
        match fields.take("client-signing-algorithms", self.mistakes) {
            Some(node) => client_algorithms::read(&node, self.mistakes),
            None => Some(ClientAlgorithms::default()),
        }
    }

    fn limits(&mut self, fields: &mut Fields) -> Option<Limits> {
        match fields.take("limits", self.mistakes) {
            Some(node) => limits::read(&node, self.mistakes),
            None => Some(Limits::default()),
        }
    }

    fn not_built(&mut self, fields: &mut Fields, key: &'static str, what: &'static str) {
        if let Some(node) = fields.take(key, self.mistakes) {
            self.mistakes.add(node.at, Fault::NotBuilt { what });
        }
    }

    /// One key has one role: two authorities, or an authority and the log, never share one.
    fn key_roles(
        &mut self,
        authorities: Option<&[Located<Authority>]>,
        log: Option<&Located<LogChoice>>,
        next_log: Option<&Located<NextLogKey>>,
    ) {
        let mut seen: Vec<(Position, &KeyUri)> = Vec::new();
        let of_authorities =
            authorities.unwrap_or_default().iter().map(|located| (located.at, &located.value.key));
        let of_log = log.and_then(|located| match &located.value {
            LogChoice::Embedded { key, .. } => Some((located.at, key)),
            LogChoice::None => None,
        });
        let of_next_log = next_log.map(|located| (located.at, &located.value.key));
        for (at, key) in of_authorities.chain(of_log).chain(of_next_log) {
            if let Some((first, _)) = seen.iter().find(|(_, known)| *known == key) {
                let fault = Fault::KeyUsedTwice { key: key.to_string(), first_line: first.line };
                self.mistakes.add(at, fault);
            }
            seen.push((at, key));
        }
    }
}

/// The file that a key is opened from, where it is one.
fn file_of(key: &KeyUri) -> Option<&Path> {
    match key {
        KeyUri::File(path) => Some(path),
        KeyUri::Wrapped(uri) => Some(&uri.path),
        KeyUri::Pkcs11(_)
        | KeyUri::AwsKms(_)
        | KeyUri::AzureKms(_)
        | KeyUri::GcpKms(_)
        | KeyUri::Vault(_) => None,
    }
}

/// What clients call us: an origin. Some clients drop a path, and tokens travel to it.
fn check_url(text: &str) -> Result<url::Url, UrlFault> {
    let url = url::Url::parse(text).map_err(|_| UrlFault::NotAbsolute)?;
    if !(url.scheme() == "https" || url.scheme() == "http" && is_this_machine(&url)) {
        return Err(UrlFault::NotHttps);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlFault::UserInfo);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(UrlFault::QueryOrFragment);
    }
    if url.path() != "/" {
        return Err(UrlFault::Path);
    }
    Ok(url)
}

/// Whether a URL's host is this machine by name or address, without asking anyone.
pub(super) fn is_this_machine(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Where metrics and readiness are served unless `private` says otherwise.
const DEFAULT_PRIVATE: ([u8; 4], u16) = ([127, 0, 0, 1], 9464);
