//! The main loop: wake, make an idempotent pass, sleep; answer calls; reload; stop.
//!
//! What must not live here: signals of the operating system, the bus, disks, what a pass does.
//! All are arguments, so that tests run the very same loop.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{FutureExt, LocalBoxFuture};
use futures_util::stream::{FuturesUnordered, StreamExt};
use jiff::Timestamp;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::api::{Api, Error};
use super::bus::{Activity, Outbox};
use super::face::Face;
use super::flight::Flight;
use super::journal::{self, message};
use super::request::{Kind, Request, answer};
use super::schedule::{self, Calendar, Interval, Wake};
use crate::systemd::notify;
use crate::update::port::Clock;
use crate::update::{Report, Trigger};

/// How long a rollout in flight may go on after a request to stop. The unit's `TimeoutStopSec=`
/// must be longer; what is not finished then is taken up at the next start.
pub const STOP_GRACE: Duration = Duration::from_secs(45);

/// What the loop asks of a pass beyond what callers can.
#[expect(async_fn_in_trait, reason = "used generically on one thread only")]
pub trait Work: Api {
    /// Finishes or takes back what an earlier process left in flight.
    async fn recover(&self) -> Result<Report, Error>;

    /// Ends when the next run of a unit on probation may have ended; never where none is.
    async fn next_run(&self);
}

/// The service's name on the bus. What goes wrong with it is written down, not returned: the loop
/// has nothing better to do about it than to go on.
pub trait Name {
    /// Gives the name back; when it returns, all calls routed here before are in
    /// [`Orders::requests`].
    fn release(&self) -> LocalBoxFuture<'_, ()>;

    /// Takes the name again.
    fn take(&self) -> LocalBoxFuture<'_, ()>;
}

/// What one reading of the configuration gives.
#[derive(Debug)]
pub struct Loaded<W> {
    pub work: Rc<W>,
    /// `None` where a timer unit decides.
    pub interval: Option<Interval>,
}

/// Where the loop gets its orders from.
#[derive(Debug)]
pub struct Orders {
    pub requests: mpsc::Receiver<Request>,
    /// SIGHUP.
    pub reload: mpsc::Receiver<()>,
    /// SIGTERM or SIGINT.
    pub stop: oneshot::Receiver<()>,
}

/// Why the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to, and nothing is in flight.
    Stopped,
    /// It was asked to; a rollout in flight is left for the next start.
    StoppedInFlight,
    /// Nothing to do, and no schedule of its own.
    Idle,
}

/// The loop's surroundings.
pub struct Daemon<'a, W, C> {
    /// Reads the configuration again; an error is one line that says where it is bad.
    pub reload: &'a dyn Fn() -> Result<Loaded<W>, String>,
    pub clock: &'a C,
    pub name: &'a dyn Name,
    /// What all passes have in flight, under whatever settings they began.
    pub flight: Flight,
    /// How often systemd hears that the loop turns; `None` where it does not ask.
    pub watchdog: Option<Duration>,
    /// Signals and properties for the bus.
    pub signals: Outbox,
    /// In `0.0..1.0`.
    pub random: &'a dyn Fn() -> f64,
    /// Whether something beside the passes is worth staying for.
    pub lingers: &'a dyn Fn() -> bool,
}

/// What a finished job was.
enum Done {
    Pass {
        scheduled: bool,
        asked: bool,
        /// When units may have what they wait for.
        waits_until: Option<Timestamp>,
    },
    Check {
        asked: bool,
    },
    /// The name is given back.
    Released,
    Other,
}

type Jobs<'a> = FuturesUnordered<LocalBoxFuture<'a, Done>>;

struct State<'d, W, C> {
    daemon: &'d Daemon<'d, W, C>,
    work: Rc<W>,
    /// Passes take turns, in the order in which they were asked for.
    turn: Rc<Mutex<()>>,
    passes: usize,
    checks: usize,
    recovering: Rc<Cell<bool>>,
    scheduled: bool,
    /// The name is being given back, to leave.
    leaving: bool,
    calendar: Calendar,
    face: Face,
}

impl<W: Work, C: Clock> Daemon<'_, W, C> {
    /// Runs until it is asked to stop, or has nothing to do.
    pub async fn run(&self, first: Loaded<W>, mut orders: Orders) -> Ended {
        let mut jobs: Jobs<'_> = FuturesUnordered::new();
        let mut state = State::new(self, first);
        jobs.push(state.recovery());
        state.show();
        notify::ready();
        let mut watchdog = Watchdog::new(self.watchdog);
        let mut next_run = state.next_run();
        loop {
            let wake = state.next_wake();
            tokio::select! {
                biased;
                _ = &mut orders.stop => {
                    return state.stop(&mut jobs).await;
                }
                Some(()) = orders.reload.recv() => {
                    notify::reloading();
                    // The reason is in the status line and the journal.
                    let _ = state.reload();
                    notify::ready();
                }
                Some(done) = jobs.next(), if !jobs.is_empty() => match done {
                    Done::Released
                        if state.may_leave() && jobs.is_empty() && orders.requests.is_empty() =>
                    {
                        break;
                    }
                    Done::Released => jobs.push(state.stay()),
                    done => {
                        // Others may be on probation now.
                        if let Done::Pass { .. } = done {
                            next_run = state.next_run();
                        }
                        state.done(&done);
                    }
                },
                () = &mut next_run => {
                    next_run = std::future::pending().boxed_local();
                    jobs.push(state.recovery());
                }
                Some(request) = orders.requests.recv() => jobs.push(state.accept(request)),
                () = at(self.clock, wake.map(Wake::time)) => match wake {
                    Some(Wake::PassAt(_)) => jobs.push(state.scheduled_pass()),
                    _ if (self.lingers)() => state.calendar.put_off_leaving(self.clock.now()),
                    _ => jobs.push(state.leave()),
                },
                () = watchdog.due() => notify::watchdog(),
            }
        }
        state.face.stopping(&state.calendar, "idle: leaving until the next call");
        Ended::Idle
    }
}

/// Sleeps until `time`; for ever without one.
async fn at<C: Clock>(clock: &C, time: Option<Timestamp>) {
    match time {
        Some(time) => clock.sleep(schedule::sleep(clock.now(), time)).await,
        None => std::future::pending().await,
    }
}

/// Ticks while the loop turns; a loop that hangs is killed by systemd.
struct Watchdog(Option<tokio::time::Interval>);

impl Watchdog {
    fn new(period: Option<Duration>) -> Self {
        // A period of zero would panic; systemd never asks for one.
        Self(period.filter(|period| !period.is_zero()).map(tokio::time::interval))
    }

    async fn due(&mut self) {
        match &mut self.0 {
            Some(interval) => {
                interval.tick().await;
            }
            None => std::future::pending().await,
        }
    }
}

impl<'d, W: Work, C: Clock> State<'d, W, C> {
    fn new(daemon: &'d Daemon<'d, W, C>, loaded: Loaded<W>) -> Self {
        Self {
            daemon,
            work: loaded.work,
            turn: Rc::default(),
            passes: 0,
            checks: 0,
            recovering: Rc::default(),
            scheduled: false,
            leaving: false,
            calendar: Calendar::new(loaded.interval, daemon.clock.now(), (daemon.random)()),
            face: Face::new(daemon.signals.clone()),
        }
    }

    /// A busy daemon does not leave, and has one scheduled pass at a time.
    fn next_wake(&self) -> Option<Wake> {
        let wake = self.calendar.wake();
        let due = match wake {
            Wake::PassAt(_) => !self.scheduled,
            Wake::ExitAt(_) => self.passes + self.checks == 0 && !self.leaving,
        };
        due.then_some(wake)
    }

    /// Gives the name back while the loop turns: calls that came in time are answered as always,
    /// and a request to stop is heard. systemd is told only when nothing is left to do, since it
    /// would not wait for it.
    fn leave(&mut self) -> LocalBoxFuture<'d, Done> {
        self.leaving = true;
        let name = self.daemon.name;
        async {
            name.release().await;
            Done::Released
        }
        .boxed_local()
    }

    /// A reload may have brought a schedule while the name was being given back.
    fn may_leave(&self) -> bool {
        matches!(self.calendar.wake(), Wake::ExitAt(_))
    }

    /// Somebody called in the last moment. While that is done others may call, and they are heard
    /// only by name: systemd starts nothing in the place of a service that has not stopped.
    fn stay(&mut self) -> LocalBoxFuture<'d, Done> {
        self.leaving = false;
        self.calendar.put_off_leaving(self.daemon.clock.now());
        let name = self.daemon.name;
        async {
            name.take().await;
            Done::Other
        }
        .boxed_local()
    }

    fn next_run(&self) -> LocalBoxFuture<'d, ()>
    where
        W: 'd,
    {
        let work = Rc::clone(&self.work);
        async move { work.next_run().await }.boxed_local()
    }

    fn recovery(&mut self) -> LocalBoxFuture<'d, Done>
    where
        W: 'd,
    {
        self.passes += 1;
        self.recovering.set(true);
        let (work, turn) = (Rc::clone(&self.work), Rc::clone(&self.turn));
        let recovering = Rc::clone(&self.recovering);
        async move {
            let _turn = turn.lock().await;
            if let Err(error) = work.recover().await {
                journal::note(&message::PASS_FAILED, true, &format!("recovery failed: {error}"));
            }
            recovering.set(false);
            Done::Pass { scheduled: false, asked: false, waits_until: None }
        }
        .boxed_local()
    }

    fn scheduled_pass(&mut self) -> LocalBoxFuture<'d, Done>
    where
        W: 'd,
    {
        self.passes += 1;
        self.scheduled = true;
        self.calendar.pass_begins(self.daemon.clock.now(), (self.daemon.random)());
        self.show();
        let (work, turn) = (Rc::clone(&self.work), Rc::clone(&self.turn));
        async move {
            let _turn = turn.lock().await;
            let result = work.update(&[], Trigger::Schedule).await;
            if let Err(error) = &result {
                journal::note(&message::PASS_FAILED, true, &format!("pass failed: {error}"));
            }
            let waits_until = result.as_ref().ok().and_then(Report::waits_until);
            Done::Pass { scheduled: true, asked: result.is_ok(), waits_until }
        }
        .boxed_local()
    }

    /// Turns a request into a job. Whoever asked may be gone when it is done.
    fn accept(&mut self, request: Request) -> LocalBoxFuture<'d, Done>
    where
        W: 'd,
    {
        let Request { call, reply } = request;
        let kind = call.kind();
        match kind {
            Kind::Reload => {
                let result = self.reload().map(|()| "null".to_owned()).map_err(Error::Failed);
                let _ = reply.send(result);
                return async { Done::Other }.boxed_local();
            }
            Kind::Check => self.checks += 1,
            Kind::Pass | Kind::Rollback => self.passes += 1,
            Kind::Change | Kind::Aside => {}
        }
        self.show();
        let (work, turn) = (Rc::clone(&self.work), Rc::clone(&self.turn));
        async move {
            let changes = matches!(kind, Kind::Pass | Kind::Rollback | Kind::Change);
            let turn = if changes { Some(turn.lock().await) } else { None };
            let answer = answer(&*work, call).await;
            drop(turn);
            let asked = answer.is_ok();
            let _ = reply.send(answer);
            match kind {
                Kind::Check => Done::Check { asked },
                Kind::Pass => Done::Pass { scheduled: false, asked, waits_until: None },
                Kind::Rollback => Done::Pass { scheduled: false, asked: false, waits_until: None },
                Kind::Change | Kind::Aside | Kind::Reload => Done::Other,
            }
        }
        .boxed_local()
    }

    fn done(&mut self, done: &Done) {
        let asked = match done {
            Done::Pass { scheduled, asked, waits_until } => {
                self.passes -= 1;
                self.scheduled &= !scheduled;
                if let Some(time) = waits_until {
                    self.calendar.bring_forward(*time);
                }
                *asked
            }
            Done::Check { asked } => {
                self.checks -= 1;
                *asked
            }
            Done::Released | Done::Other => false,
        };
        let now = self.daemon.clock.now();
        if asked {
            self.calendar.checked(now);
        }
        self.calendar.put_off_leaving(now);
        self.show();
    }

    /// Takes the new settings, or keeps the old ones and says why.
    fn reload(&mut self) -> Result<(), String> {
        let result = match (self.daemon.reload)() {
            Ok(loaded) => {
                let now = self.daemon.clock.now();
                self.calendar.change(loaded.interval, now, (self.daemon.random)());
                self.work = loaded.work;
                journal::note(&message::CONFIGURATION_LOADED, false, "configuration reloaded");
                Ok(())
            }
            Err(reason) => {
                let text = format!("configuration rejected, the old settings stay: {reason}");
                journal::note(&message::CONFIGURATION_REJECTED, true, &text);
                Err(text)
            }
        };
        self.face.reject(result.clone().err());
        self.show();
        result
    }

    /// Lets a rollout whose unit was restarted come to its end, for a while. Everything else can
    /// be dropped at any point: it is written down before it is done.
    async fn stop(&mut self, jobs: &mut Jobs<'d>) -> Ended {
        self.face.stopping(&self.calendar, "stopping");
        self.daemon.flight.wind_down();
        let deadline = tokio::time::sleep(STOP_GRACE);
        tokio::pin!(deadline);
        while self.daemon.flight.in_flight() {
            tokio::select! {
                () = &mut deadline => return Ended::StoppedInFlight,
                done = jobs.next() => if done.is_none() { break },
            }
        }
        Ended::Stopped
    }

    fn activity(&self) -> Activity {
        match (self.passes, self.checks) {
            (0, 0) => Activity::Idle,
            (0, _) => Activity::Checking,
            _ if self.recovering.get() => Activity::Recovering,
            _ => Activity::Updating,
        }
    }

    fn show(&self) {
        self.face.show(self.activity(), &self.calendar);
    }
}

#[cfg(test)]
mod tests;
