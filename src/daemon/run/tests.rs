use std::cell::RefCell;

use tokio::sync::Notify;

use super::*;
use crate::daemon::api::{Checked, Held, HistoryQuery, Holding, RegistryStatus, UnitStatus};
use crate::daemon::bus::{Outgoing, Properties, Signal, outbox};
use crate::daemon::request::Call;
use crate::daemon::schedule::IDLE;
use crate::model::UnitName;
use crate::plan::{Approval, Hold, Plan, Quarantined};
use crate::update::port::Observer as _;
use crate::update::{Entry, Event, EventKind};

/// A clock that stands still until a test moves it.
#[derive(Default)]
struct Still {
    seconds: Cell<i64>,
    moved: Notify,
}

impl Still {
    fn advance(&self, seconds: i64) {
        self.seconds.set(self.seconds.get() + seconds);
        self.moved.notify_waiters();
    }
}

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.seconds.get()).unwrap()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.seconds.get().unsigned_abs())
    }

    fn zone(&self, _: Option<&str>) -> Option<jiff::tz::TimeZone> {
        Some(jiff::tz::TimeZone::UTC)
    }

    fn random(&self) -> f64 {
        0.5
    }

    async fn sleep(&self, time: Duration) {
        let until = self.now() + time;
        while self.now() < until {
            self.moved.notified().await;
        }
    }
}

/// Notes what it is asked for; updates wait while the gate is closed.
#[derive(Default)]
struct Recorder {
    calls: RefCell<Vec<String>>,
    changed: Notify,
    gate_closed: Cell<bool>,
    gate: Notify,
    /// A run on probation has ended.
    run_ended: Notify,
    running: Cell<usize>,
    most: Cell<usize>,
}

impl Recorder {
    fn note(&self, call: impl Into<String>) {
        self.calls.borrow_mut().push(call.into());
        self.changed.notify_waiters();
    }

    fn calls(&self) -> Vec<String> {
        self.calls.borrow().clone()
    }

    async fn until(&self, call: &str, times: usize) {
        while self.calls.borrow().iter().filter(|seen| *seen == call).count() < times {
            self.changed.notified().await;
        }
    }

    fn open(&self) {
        self.gate_closed.set(false);
        self.gate.notify_waiters();
    }
}

fn checked() -> Checked {
    let plan = Plan {
        made_at: Timestamp::UNIX_EPOCH,
        rollouts: vec![],
        skipped: vec![],
        problems: vec![],
        warnings: vec![],
        asking: vec![],
        staging: vec![],
    };
    Checked { plan, not_running: vec![], waiting: vec![] }
}

fn report() -> Report {
    Report::default()
}

impl Api for Rc<Recorder> {
    async fn check(&self) -> Result<Checked, Error> {
        self.note("check");
        Ok(checked())
    }

    async fn update(&self, units: &[UnitName], trigger: Trigger) -> Result<Report, Error> {
        self.running.set(self.running.get() + 1);
        self.most.set(self.most.get().max(self.running.get()));
        let names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
        self.note(format!("update {trigger} {}", names.join(" ")).trim_end());
        while self.gate_closed.get() {
            self.gate.notified().await;
        }
        self.running.set(self.running.get() - 1);
        if names == ["busy.service"] {
            return Err(Error::Busy("another pass is under way".into()));
        }
        Ok(report())
    }

    async fn roll_back(&self, _: &[UnitName], _: Option<&str>) -> Result<Report, Error> {
        unreachable!()
    }

    async fn units(&self) -> Result<Vec<UnitStatus>, Error> {
        Ok(vec![])
    }

    async fn registries(&self) -> Result<Vec<RegistryStatus>, Error> {
        Ok(vec![])
    }

    async fn history(&self, _: &HistoryQuery) -> Result<Vec<Entry>, Error> {
        Ok(vec![])
    }

    async fn hold(&self, _: &[UnitName], _: &Holding) -> Result<Hold, Error> {
        unreachable!("nobody holds anything")
    }

    async fn unhold(&self, _: &[UnitName]) -> Result<Vec<UnitName>, Error> {
        Ok(vec![])
    }

    async fn approve(&self, _: &[UnitName], _: Option<&str>) -> Result<Vec<Approval>, Error> {
        Ok(vec![])
    }

    async fn quarantine(&self) -> Result<Vec<Held>, Error> {
        Ok(vec![])
    }

    async fn clear_quarantine(&self, _: Option<&str>) -> Result<Vec<Quarantined>, Error> {
        Ok(vec![])
    }
}

impl Work for Rc<Recorder> {
    async fn recover(&self) -> Result<Report, Error> {
        self.note("recover");
        Ok(report())
    }

    async fn next_run(&self) {
        self.run_ended.notified().await;
    }
}

/// A running loop's handles.
struct Handles {
    work: Rc<Recorder>,
    clock: Rc<Still>,
    requests: mpsc::Sender<Request>,
    reload: mpsc::Sender<()>,
    stop: RefCell<Option<oneshot::Sender<()>>>,
    flight: Flight,
    properties: Mutex<mpsc::UnboundedReceiver<Outgoing>>,
    name: Rc<Registered>,
}

/// The name on the bus; a test may hold the last moment before it is given back.
struct Registered {
    held: Cell<bool>,
    releasing: Notify,
    letting_go: Notify,
}

impl Default for Registered {
    fn default() -> Self {
        Self { held: Cell::new(true), releasing: Notify::new(), letting_go: Notify::new() }
    }
}

impl Name for Registered {
    fn release(&self) -> LocalBoxFuture<'_, ()> {
        async {
            self.held.set(false);
            self.releasing.notify_one();
            self.letting_go.notified().await;
        }
        .boxed_local()
    }

    fn take(&self) -> LocalBoxFuture<'_, ()> {
        async { self.held.set(true) }.boxed_local()
    }
}

impl Handles {
    fn ask(&self, call: Call) -> oneshot::Receiver<Result<String, Error>> {
        let (reply, answer) = oneshot::channel();
        self.requests.try_send(Request { call, reply }).unwrap();
        answer
    }

    /// A pass tells its observers.
    fn happens(&self, kind: EventKind) {
        self.flight.event(&Event { unit: "a.service".parse().ok(), ..Event::new(kind) });
    }

    fn stop(&self) {
        let _ = self.stop.borrow_mut().take().unwrap().send(());
    }

    /// Waits until the published properties satisfy `wanted`.
    async fn published(&self, wanted: impl Fn(&Properties) -> bool) -> Properties {
        let mut properties = self.properties.lock().await;
        loop {
            match properties.recv().await.unwrap() {
                Outgoing::Signal(Signal::Properties(properties)) if wanted(&properties) => {
                    return properties;
                }
                _ => {}
            }
        }
    }
}

const HOURLY: Interval =
    Interval { every: Duration::from_secs(3600), jitter: Duration::from_secs(600) };

type Reloads = Rc<RefCell<Vec<Result<Option<Interval>, String>>>>;

/// Runs the loop beside `script`, which must end it, and returns why it ended.
async fn beside<F: Future<Output = ()>>(
    interval: Option<Interval>,
    reloads: Vec<Result<Option<Interval>, String>>,
    script: impl FnOnce(Rc<Handles>) -> F,
) -> Ended {
    let (request_sender, requests) = mpsc::channel(16);
    let (reload_sender, reload) = mpsc::channel(4);
    let (stop_sender, stop) = oneshot::channel();
    let (signals, properties) = outbox();
    let handles = Rc::new(Handles {
        work: Rc::default(),
        clock: Rc::default(),
        requests: request_sender,
        reload: reload_sender,
        stop: RefCell::new(Some(stop_sender)),
        flight: Flight::default(),
        properties: Mutex::new(properties),
        name: Rc::default(),
    });
    let reloads: Reloads = Rc::new(RefCell::new(reloads));
    let daemon = Daemon {
        reload: &|| {
            let interval = reloads.borrow_mut().remove(0)?;
            // As in the program, a reload makes everything anew.
            Ok(Loaded { work: Rc::default(), interval })
        },
        clock: &*handles.clock,
        name: &*handles.name,
        flight: handles.flight.clone(),
        watchdog: None,
        signals,
        random: &|| 0.5,
        lingers: &|| false,
    };
    let first = Loaded { work: Rc::new(Rc::clone(&handles.work)), interval };
    let orders = Orders { requests, reload, stop };
    let running = daemon.run(first, orders);
    let both = async { tokio::join!(running, script(Rc::clone(&handles))).0 };
    tokio::time::timeout(Duration::from_secs(20), both).await.expect("the loop hangs")
}

/// Lets the loop turn as often as it could need to do something wrong.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_run_that_was_waited_for_is_looked_at_when_it_ends() {
    beside(Some(HOURLY), vec![], async |on| {
        for times in 1..4 {
            on.work.until("recover", times).await;
            on.work.run_ended.notify_one();
        }
        on.work.until("recover", 4).await;
        assert_eq!(on.work.most.get(), 0, "no registry is asked for it");
        on.stop();
    })
    .await;
}

#[tokio::test]
async fn recovers_first_then_makes_passes_on_schedule() {
    let ended = beside(Some(HOURLY), vec![], async |on| {
        on.work.until("recover", 1).await;
        let idle = on.published(|p| p.activity == Activity::Idle).await;
        assert_eq!(idle.next_check, Timestamp::from_second(300).ok());
        assert_eq!(on.work.calls(), ["recover"]);
        on.clock.advance(300);
        on.work.until("update schedule", 1).await;
        let idle = on.published(|p| p.last_check.is_some()).await;
        assert_eq!(idle.last_check, Timestamp::from_second(300).ok());
        assert_eq!(idle.next_check, Timestamp::from_second(300 + 3900).ok());
        on.clock.advance(3900);
        on.work.until("update schedule", 2).await;
        on.stop();
    })
    .await;
    assert_eq!(ended, Ended::Stopped);
}

#[tokio::test]
async fn passes_take_turns_and_checks_do_not_wait() {
    beside(Some(HOURLY), vec![], async |on| {
        on.work.gate_closed.set(true);
        let units = vec!["a.service".parse().unwrap()];
        let first = on.ask(Call::Update { units, trigger: Trigger::Manual });
        let second = on.ask(Call::Update { units: vec![], trigger: Trigger::Timer });
        on.work.until("update manual a.service", 1).await;
        let check = on.ask(Call::Check).await.unwrap().unwrap();
        assert_eq!(serde_json::from_str::<Checked>(&check).unwrap(), checked());
        assert!(!on.work.calls().contains(&"update timer".to_owned()));
        on.work.open();
        let answer = first.await.unwrap().unwrap();
        assert_eq!(serde_json::from_str::<Report>(&answer).unwrap(), report());
        second.await.unwrap().unwrap();
        assert_eq!(on.work.most.get(), 1);
        on.stop();
    })
    .await;
}

#[tokio::test]
async fn a_scheduled_pass_is_not_doubled_while_it_runs() {
    beside(Some(HOURLY), vec![], async |on| {
        on.work.gate_closed.set(true);
        on.clock.advance(300);
        on.work.until("update schedule", 1).await;
        for _ in 0..3 {
            on.clock.advance(10 * 3600);
            settle().await;
        }
        on.work.open();
        on.work.until("update schedule", 2).await;
        settle().await;
        let passes = on.work.calls().iter().filter(|call| *call == "update schedule").count();
        assert_eq!((passes, on.work.most.get()), (2, 1));
        on.stop();
    })
    .await;
}

#[tokio::test]
async fn tells_who_is_busy() {
    beside(Some(HOURLY), vec![], async |on| {
        let units = vec!["busy.service".parse().unwrap()];
        let answer = on.ask(Call::Update { units, trigger: Trigger::Manual }).await.unwrap();
        assert!(matches!(answer, Err(Error::Busy(_))), "{answer:?}");
        on.stop();
    })
    .await;
}

#[tokio::test]
async fn a_bad_reload_keeps_the_old_settings() {
    let minute = Interval { every: Duration::from_secs(60), jitter: Duration::ZERO };
    let reloads = vec![Err("updaterd.toml:3: unknown key \"intervall\"".into()), Ok(Some(minute))];
    beside(Some(HOURLY), reloads, async |on| {
        let refused = on.ask(Call::Reload).await.unwrap().unwrap_err();
        assert!(refused.to_string().contains("updaterd.toml:3"), "{refused}");
        on.clock.advance(300);
        on.work.until("update schedule", 1).await;
        let after = on.published(|p| p.last_check.is_some()).await;
        assert_eq!(after.next_check, Timestamp::from_second(300 + 3900).ok());
        on.reload.send(()).await.unwrap();
        let after = on.published(|p| p.next_check == Timestamp::from_second(360).ok()).await;
        assert_eq!(after.activity, Activity::Idle);
        on.stop();
    })
    .await;
}

#[tokio::test]
async fn stops_at_once_where_nothing_was_restarted() {
    let ended = beside(Some(HOURLY), vec![], async |on| {
        on.work.gate_closed.set(true);
        let answer = on.ask(Call::Update { units: vec![], trigger: Trigger::Manual });
        on.work.until("update manual", 1).await;
        on.stop();
        assert!(answer.await.is_err(), "the caller is told nothing of a dropped pass");
    })
    .await;
    assert_eq!(ended, Ended::Stopped);
}

#[tokio::test]
async fn lets_a_rollout_in_flight_end() {
    let ended = beside(Some(HOURLY), vec![], async |on| {
        on.work.gate_closed.set(true);
        let answer = on.ask(Call::Update { units: vec![], trigger: Trigger::Manual });
        on.work.until("update manual", 1).await;
        on.happens(EventKind::Restarting);
        on.stop();
        on.published(|p| p.activity == Activity::Stopping).await;
        on.happens(EventKind::Updated);
        on.work.open();
        assert!(answer.await.unwrap().is_ok());
    })
    .await;
    assert_eq!(ended, Ended::Stopped);
}

#[tokio::test]
async fn a_rollout_that_began_before_a_reload_ends_too() {
    let ended = beside(Some(HOURLY), vec![Ok(Some(HOURLY))], async |on| {
        on.work.gate_closed.set(true);
        let answer = on.ask(Call::Update { units: vec![], trigger: Trigger::Manual });
        on.work.until("update manual", 1).await;
        on.happens(EventKind::Restarting);
        on.ask(Call::Reload).await.unwrap().unwrap();
        on.stop();
        on.published(|p| p.activity == Activity::Stopping).await;
        on.happens(EventKind::Updated);
        on.work.open();
        assert!(answer.await.unwrap().is_ok());
    })
    .await;
    assert_eq!(ended, Ended::Stopped);
}

#[tokio::test]
async fn leaves_when_idle_and_only_then() {
    let ended = beside(None, vec![], async |on| {
        on.work.until("recover", 1).await;
        on.published(|p| p.activity == Activity::Idle).await;
        let seconds = i64::try_from(IDLE.as_secs()).unwrap();
        on.clock.advance(seconds - 1);
        on.ask(Call::Check).await.unwrap().unwrap();
        on.clock.advance(seconds - 1);
        on.work.gate_closed.set(true);
        let late = on.ask(Call::Update { units: vec![], trigger: Trigger::Timer });
        on.work.until("update timer", 1).await;
        on.clock.advance(10 * seconds);
        settle().await;
        assert!(on.name.held.get(), "it left during a pass");
        on.work.open();
        late.await.unwrap().unwrap();
        on.published(|p| p.activity == Activity::Idle).await;
        on.clock.advance(seconds);
        on.name.releasing.notified().await;
        on.name.letting_go.notify_one();
        on.published(|p| p.activity == Activity::Stopping).await;
    })
    .await;
    assert_eq!(ended, Ended::Idle);
}

#[tokio::test]
async fn who_calls_in_the_last_moment_is_served_as_always() {
    let ended = beside(None, vec![], async |on| {
        on.work.until("recover", 1).await;
        on.published(|p| p.activity == Activity::Idle).await;
        on.clock.advance(i64::try_from(IDLE.as_secs()).unwrap());
        on.name.releasing.notified().await;
        on.work.gate_closed.set(true);
        let late = on.ask(Call::Update { units: vec![], trigger: Trigger::Timer });
        on.work.until("update timer", 1).await;
        on.name.letting_go.notify_one();
        settle().await;
        assert!(on.name.held.get(), "others are heard while it is busy");
        on.happens(EventKind::Restarting);
        on.stop();
        on.published(|p| p.activity == Activity::Stopping).await;
        on.happens(EventKind::Updated);
        on.work.open();
        assert!(late.await.unwrap().is_ok());
    })
    .await;
    assert_eq!(ended, Ended::Stopped);
}
