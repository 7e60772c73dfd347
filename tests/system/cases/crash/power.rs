//! The power cut in an update, forward and back: what the disk had not been told to keep is gone, and so
//! is all that ran.
//!
//! The state lies on ext4 in a file. What was written to it and not flushed is in the kernel's memory, so a
//! copy of that file is the disk after a cut. Podman's containers are not among these: Podman does not
//! flush what it writes, and its own storage does not survive.

use std::cell::Cell;

use super::story::{Engine, Plot, Story};
use super::{moments, passed};
use crate::host::Host;

const STATE: &str = "/var/lib/updaterd";

/// The disk that the state lies on.
struct Disk<'host> {
    host: &'host Host,
    copies: Cell<u32>,
}

impl<'host> Disk<'host> {
    fn begin(host: &'host Host) -> Self {
        host.sh(
            "mknod /dev/loop-control c 10 237; for n in {0..63}; do mknod /dev/loop$n b 7 $n; done",
        );
        host.sh("truncate --size=256M /tmp/disk.0; mkfs.ext4 -q -F /tmp/disk.0");
        let disk = Self { host, copies: Cell::new(0) };
        disk.mount();
        disk
    }

    /// Nothing is flushed but what somebody flushes.
    fn mount(&self) {
        let copy = self.copies.get();
        self.host.sh(&format!("mount -o loop,commit=300 /tmp/disk.{copy} {STATE}"));
    }

    /// From now on, what is written is written in vain.
    fn cut(&self) {
        let (now, next) = (self.copies.get(), self.copies.get() + 1);
        self.host.sh(&format!("cp --sparse=always /tmp/disk.{now} /tmp/disk.{next}"));
        self.copies.set(next);
    }

    /// All that ran is gone, with what was in memory; then the units start that are enabled.
    fn boot(&self) {
        self.host.sh("systemctl kill --signal=KILL app.service || true
             systemctl kill --signal=KILL web.service || true
             systemctl stop boot.target updaterd.service web.service app.service
             systemctl reset-failed");
        let last = self.copies.get() - 1;
        // With their files, systemd forgets that the units ever ran.
        self.host.sh(&format!(
            "umount --lazy {STATE}; rm -rf /run/updaterd/*
             mv /etc/systemd/system/{{app,web}}.service /tmp; systemctl daemon-reload
             mv /tmp/{{app,web}}.service /etc/systemd/system; systemctl daemon-reload"
        ));
        self.mount();
        self.host.sh(&format!("rm /tmp/disk.{last}; systemctl start boot.target"));
    }
}

fn cut_everywhere(host: &Host, plot: Plot) {
    let disk = Disk::begin(host);
    let story = Story::begin(host, Engine::Native, plot);
    host.write(
        "/etc/systemd/system/boot.target",
        "[Unit]\nWants=app.service web.service updaterd-recover.service\n",
    );
    host.sh("systemctl daemon-reload");
    let passed = passed(&story);
    // Before, nothing was begun that could be lost.
    let begun = moments(&passed).into_iter().skip_while(|point| *point != "after-save-rollout#1");
    for point in begun {
        println!("cut {point}");
        let chapter = story.next();
        story.die(point);
        disk.cut();
        disk.boot();
        assert_eq!(host.property("updaterd-recover.service", "Result"), "success", "{point}");
        assert!(!story.is_in_flight(), "{point}");
        story.is_sound(&chapter, false, point);
    }
}

pub(super) fn a_power_cut_in_an_update(host: &Host) {
    cut_everywhere(host, Plot::Update);
}

pub(super) fn a_power_cut_in_a_way_back(host: &Host) {
    cut_everywhere(host, Plot::WayBack);
}
