//! What goes out on the bus, in the order in which it was told.

use tokio::sync::{mpsc, oneshot};

use super::Signal;

/// One thing that waits for its turn to be sent.
#[derive(Debug)]
pub enum Outgoing {
    Signal(Signal),
    /// Answered when everything that was told before has been sent.
    Fence(oneshot::Sender<()>),
}

/// Where signals are put.
#[derive(Debug, Clone)]
pub struct Outbox(mpsc::UnboundedSender<Outgoing>);

/// Where a caller's answer waits for what happened before it: it does not keep the outbox open.
#[derive(Debug, Clone)]
pub struct Fence(mpsc::WeakUnboundedSender<Outgoing>);

/// An outbox, and its other end.
pub fn outbox() -> (Outbox, mpsc::UnboundedReceiver<Outgoing>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Outbox(sender), receiver)
}

impl Outbox {
    pub fn send(&self, signal: Signal) {
        // The receiver is gone only when the process is about to end.
        let _ = self.0.send(Outgoing::Signal(signal));
    }

    pub fn fence(&self) -> Fence {
        Fence(self.0.downgrade())
    }
}

impl Fence {
    /// Returns when everything that was told before has been sent, or never will be.
    pub async fn passed(&self) {
        let (reply, sent) = oneshot::channel();
        let Some(outbox) = self.0.upgrade() else { return };
        if outbox.send(Outgoing::Fence(reply)).is_ok() {
            drop(outbox);
            let _ = sent.await;
        }
    }
}
