//! The attackers: a process of their own, which is this program called again.

use std::{
    env,
    error::Error,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::{task::JoinSet, time::sleep};

use crate::attacks::{ATTACKS, Attack};

/// Attackers at work, until dropped.
#[derive(Debug)]
pub(crate) struct Attackers {
    child: Child,
}

impl Attackers {
    /// `connections` of them, shared out among the attacks with these numbers.
    pub(crate) fn start(
        numbers: &[usize],
        address: SocketAddr,
        connections: usize,
        bounded: bool,
    ) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(env::current_exe()?);
        command.arg("--attack").arg(address.to_string());
        command.arg("--connections").arg(connections.to_string());
        for number in numbers {
            command.arg("--number").arg(number.to_string());
        }
        if bounded {
            command.arg("--bounded");
        }
        Ok(Self { child: command.stdin(Stdio::null()).spawn()? })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Attackers {
    fn drop(&mut self) {
        // There is nothing to do about one that is gone already.
        let _ended_already = self.child.kill();
        let _reaped_already = self.child.wait();
    }
}

/// Keeps every connection busy, each anew when it was ended. Never returns.
pub(crate) async fn attack(
    kinds: &[Attack],
    address: SocketAddr,
    connections: usize,
    bounded: bool,
) -> Result<(), Box<dyn Error>> {
    let mut tasks = JoinSet::new();
    for kind in kinds.iter().cycle().take(connections) {
        let attack = if bounded { bound(*kind) } else { *kind };
        tasks.spawn(async move {
            loop {
                let mounted = attack.mount(address).await;
                // Ports run out, or the server hung up: come back, but do not spin.
                let pause = if mounted.is_err() || bounded { COME_BACK } else { Duration::ZERO };
                sleep(pause).await;
            }
        });
    }
    while tasks.join_next().await.is_some() {}
    Err("no attacker is left".into())
}

/// At most 100 frames, and 25 KB, a second.
fn bound(attack: Attack) -> Attack {
    let by_bytes = Duration::from_micros((attack.again)(0).len() as u64 * 40);
    let pause = attack.pause.max(by_bytes).max(Duration::from_secs(1));
    let mut bounded = attack;
    bounded.pause = pause;
    bounded
}

/// Whether an attack lives on its speed, so that it has to be measured at two.
pub(crate) fn is_fast(number: usize) -> bool {
    ATTACKS.get(number).is_some_and(|attack| attack.pause.is_zero())
}

const COME_BACK: Duration = Duration::from_secs(1);
