//! The system calls of a container, by what they are for (syscalls(2)). Data only.
//!
//! A call in no list is reported as not there (ENOSYS), so that programs use the older call they
//! know; a call that is withheld fails with EPERM.

use libc as sys;

/// One call: its number on this architecture.
pub(super) type Call = i64;

/// Calls that act on the caller, its files, memory, sockets and children: always allowed.
pub(super) const ALLOWED: &[Call] = &[
    // Files and directories.
    sys::SYS_read, sys::SYS_write, sys::SYS_readv, sys::SYS_writev, sys::SYS_pread64,
    sys::SYS_pwrite64, sys::SYS_preadv, sys::SYS_pwritev, sys::SYS_preadv2, sys::SYS_pwritev2,
    sys::SYS_openat, sys::SYS_openat2, sys::SYS_close, sys::SYS_close_range, sys::SYS_lseek,
    sys::SYS_newfstatat, sys::SYS_fstat, sys::SYS_statx, sys::SYS_statfs, sys::SYS_fstatfs,
    sys::SYS_faccessat, sys::SYS_faccessat2, sys::SYS_readlinkat, sys::SYS_getdents64,
    sys::SYS_getcwd, sys::SYS_chdir, sys::SYS_fchdir, sys::SYS_chroot, sys::SYS_mkdirat,
    sys::SYS_unlinkat, sys::SYS_renameat2, sys::SYS_linkat, sys::SYS_symlinkat, sys::SYS_mknodat,
    sys::SYS_fchmod, sys::SYS_fchmodat, sys::SYS_fchown, sys::SYS_fchownat, sys::SYS_truncate,
    sys::SYS_ftruncate, sys::SYS_fallocate, sys::SYS_utimensat, sys::SYS_umask, sys::SYS_dup,
    sys::SYS_dup3, sys::SYS_pipe2, sys::SYS_fcntl, sys::SYS_flock, sys::SYS_ioctl, sys::SYS_sync,
    sys::SYS_syncfs, sys::SYS_fsync, sys::SYS_fdatasync, sys::SYS_sync_file_range,
    sys::SYS_fadvise64, sys::SYS_readahead, sys::SYS_sendfile, sys::SYS_splice, sys::SYS_tee,
    sys::SYS_vmsplice, sys::SYS_copy_file_range, sys::SYS_setxattr, sys::SYS_lsetxattr,
    sys::SYS_fsetxattr, sys::SYS_getxattr, sys::SYS_lgetxattr, sys::SYS_fgetxattr,
    sys::SYS_listxattr, sys::SYS_llistxattr, sys::SYS_flistxattr, sys::SYS_removexattr,
    sys::SYS_lremovexattr, sys::SYS_fremovexattr, sys::SYS_inotify_init1,
    sys::SYS_inotify_add_watch, sys::SYS_inotify_rm_watch, sys::SYS_fanotify_mark,
    sys::SYS_name_to_handle_at, sys::SYS_memfd_create, sys::SYS_memfd_secret,
    FCHMODAT2, CACHESTAT, SETXATTRAT, GETXATTRAT, LISTXATTRAT, REMOVEXATTRAT, FILE_GETATTR,
    FILE_SETATTR,
    // Waiting and events.
    sys::SYS_ppoll, sys::SYS_pselect6, sys::SYS_epoll_create1, sys::SYS_epoll_ctl,
    sys::SYS_epoll_pwait, sys::SYS_epoll_pwait2, sys::SYS_eventfd2, sys::SYS_signalfd4,
    sys::SYS_timerfd_create, sys::SYS_timerfd_settime, sys::SYS_timerfd_gettime,
    sys::SYS_io_setup, sys::SYS_io_destroy, sys::SYS_io_submit, sys::SYS_io_cancel,
    sys::SYS_io_getevents, IO_PGETEVENTS, sys::SYS_restart_syscall,
    // Memory.
    sys::SYS_brk, sys::SYS_mmap, sys::SYS_munmap, sys::SYS_mremap, sys::SYS_mprotect,
    sys::SYS_pkey_mprotect, sys::SYS_pkey_alloc, sys::SYS_pkey_free, sys::SYS_madvise,
    sys::SYS_process_madvise, sys::SYS_mincore, sys::SYS_msync, sys::SYS_mlock, sys::SYS_mlock2,
    sys::SYS_munlock, sys::SYS_mlockall, sys::SYS_munlockall, sys::SYS_remap_file_pages,
    sys::SYS_membarrier, MAP_SHADOW_STACK, MSEAL, sys::SYS_process_mrelease,
    // Processes, threads, signals.
    sys::SYS_clone, sys::SYS_execve, sys::SYS_execveat, sys::SYS_exit, sys::SYS_exit_group,
    sys::SYS_wait4, sys::SYS_waitid, sys::SYS_kill, sys::SYS_tkill, sys::SYS_tgkill,
    sys::SYS_pidfd_open, sys::SYS_pidfd_send_signal, sys::SYS_rt_sigaction,
    sys::SYS_rt_sigprocmask, sys::SYS_rt_sigpending, sys::SYS_rt_sigqueueinfo,
    sys::SYS_rt_tgsigqueueinfo, sys::SYS_rt_sigreturn, sys::SYS_rt_sigsuspend,
    sys::SYS_rt_sigtimedwait, sys::SYS_sigaltstack, sys::SYS_set_tid_address,
    sys::SYS_set_robust_list, sys::SYS_get_robust_list, sys::SYS_futex, sys::SYS_futex_waitv,
    FUTEX_WAKE, FUTEX_WAIT, FUTEX_REQUEUE, sys::SYS_rseq, sys::SYS_gettid, sys::SYS_getpid,
    sys::SYS_getppid, sys::SYS_getpgid, sys::SYS_setpgid, sys::SYS_getsid, sys::SYS_setsid,
    sys::SYS_prctl, sys::SYS_seccomp, sys::SYS_getcpu, sys::SYS_landlock_create_ruleset,
    sys::SYS_landlock_add_rule, sys::SYS_landlock_restrict_self,
    // Who a process is, and its limits.
    sys::SYS_getuid, sys::SYS_geteuid, sys::SYS_getgid, sys::SYS_getegid, sys::SYS_getresuid,
    sys::SYS_getresgid, sys::SYS_setuid, sys::SYS_setgid, sys::SYS_setreuid, sys::SYS_setregid,
    sys::SYS_setresuid, sys::SYS_setresgid, sys::SYS_setfsuid, sys::SYS_setfsgid,
    sys::SYS_getgroups, sys::SYS_setgroups, sys::SYS_capget, sys::SYS_capset,
    sys::SYS_getrlimit, sys::SYS_setrlimit, sys::SYS_prlimit64, sys::SYS_getrusage,
    sys::SYS_getpriority, sys::SYS_setpriority, sys::SYS_ioprio_get, sys::SYS_ioprio_set,
    sys::SYS_sched_yield, sys::SYS_sched_getaffinity, sys::SYS_sched_setaffinity,
    sys::SYS_sched_getparam, sys::SYS_sched_setparam, sys::SYS_sched_getscheduler,
    sys::SYS_sched_setscheduler, sys::SYS_sched_getattr, sys::SYS_sched_setattr,
    sys::SYS_sched_get_priority_max, sys::SYS_sched_get_priority_min,
    sys::SYS_sched_rr_get_interval, sys::SYS_uname, sys::SYS_sysinfo, sys::SYS_times,
    sys::SYS_personality, sys::SYS_getrandom,
    // Time.
    sys::SYS_nanosleep, sys::SYS_clock_nanosleep, sys::SYS_clock_gettime, sys::SYS_clock_getres,
    sys::SYS_gettimeofday, sys::SYS_getitimer, sys::SYS_setitimer, sys::SYS_timer_create,
    sys::SYS_timer_delete, sys::SYS_timer_getoverrun, sys::SYS_timer_gettime,
    sys::SYS_timer_settime, sys::SYS_adjtimex, sys::SYS_clock_adjtime,
    // Sockets and IPC.
    sys::SYS_socket, sys::SYS_socketpair, sys::SYS_bind, sys::SYS_connect, sys::SYS_listen,
    sys::SYS_accept, sys::SYS_accept4, sys::SYS_getsockname, sys::SYS_getpeername,
    sys::SYS_getsockopt, sys::SYS_setsockopt, sys::SYS_sendto, sys::SYS_sendmsg,
    sys::SYS_sendmmsg, sys::SYS_recvfrom, sys::SYS_recvmsg, sys::SYS_recvmmsg, sys::SYS_shutdown,
    sys::SYS_mq_open, sys::SYS_mq_unlink, sys::SYS_mq_notify, sys::SYS_mq_getsetattr,
    sys::SYS_mq_timedreceive, sys::SYS_mq_timedsend, sys::SYS_msgget, sys::SYS_msgctl,
    sys::SYS_msgsnd, sys::SYS_msgrcv, sys::SYS_semget, sys::SYS_semctl, sys::SYS_semop,
    sys::SYS_semtimedop, sys::SYS_shmget, sys::SYS_shmctl, sys::SYS_shmat, sys::SYS_shmdt,
    // Debugging of the container's own processes; the kernel checks credentials and Yama.
    sys::SYS_ptrace, sys::SYS_process_vm_readv, sys::SYS_process_vm_writev, sys::SYS_kcmp,
    sys::SYS_pidfd_getfd,
];

/// Older forms of calls above, which only some architectures have.
#[cfg(target_arch = "x86_64")]
pub(super) const ALLOWED_HERE: &[Call] = &[
    sys::SYS_open, sys::SYS_creat, sys::SYS_stat, sys::SYS_lstat, sys::SYS_access,
    sys::SYS_readlink, sys::SYS_getdents, sys::SYS_mkdir, sys::SYS_rmdir, sys::SYS_unlink,
    sys::SYS_rename, sys::SYS_renameat, sys::SYS_link, sys::SYS_symlink, sys::SYS_mknod,
    sys::SYS_chmod, sys::SYS_chown, sys::SYS_lchown, sys::SYS_utime, sys::SYS_utimes,
    sys::SYS_futimesat, sys::SYS_dup2, sys::SYS_pipe, sys::SYS_poll, sys::SYS_select,
    sys::SYS_epoll_create, sys::SYS_epoll_wait, sys::SYS_epoll_ctl_old, sys::SYS_epoll_wait_old,
    sys::SYS_eventfd, sys::SYS_signalfd, sys::SYS_inotify_init, sys::SYS_fork, sys::SYS_vfork,
    sys::SYS_getpgrp, sys::SYS_pause, sys::SYS_alarm, sys::SYS_time, sys::SYS_arch_prctl,
    sys::SYS_set_thread_area, sys::SYS_get_thread_area, sys::SYS_modify_ldt,
];
#[cfg(target_arch = "aarch64")]
pub(super) const ALLOWED_HERE: &[Call] = &[sys::SYS_renameat];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) const ALLOWED_HERE: &[Call] = &[];

/// Calls that come with a capability: allowed where the container has it, else EPERM.
pub(super) const WITH_CAPABILITY: &[(&str, &[Call])] = &[
    (
        "SYS_ADMIN",
        &[
            sys::SYS_mount, sys::SYS_umount2, sys::SYS_pivot_root, sys::SYS_mount_setattr,
            sys::SYS_move_mount, sys::SYS_open_tree, sys::SYS_fsopen, sys::SYS_fsconfig,
            sys::SYS_fsmount, sys::SYS_fspick, STATMOUNT, LISTMOUNT, OPEN_TREE_ATTR,
            sys::SYS_unshare, sys::SYS_setns, sys::SYS_sethostname, sys::SYS_setdomainname,
            sys::SYS_quotactl, QUOTACTL_FD, sys::SYS_lookup_dcookie, sys::SYS_fanotify_init,
            sys::SYS_bpf, sys::SYS_perf_event_open, sys::SYS_syslog,
        ],
    ),
    ("BPF", &[sys::SYS_bpf]),
    ("PERFMON", &[sys::SYS_perf_event_open]),
    ("SYSLOG", &[sys::SYS_syslog]),
    ("DAC_READ_SEARCH", &[sys::SYS_open_by_handle_at]),
    ("SYS_BOOT", &[sys::SYS_reboot]),
    ("SYS_MODULE", &[sys::SYS_init_module, sys::SYS_finit_module, sys::SYS_delete_module]),
    ("SYS_PACCT", &[sys::SYS_acct]),
    ("SYS_TIME", &[sys::SYS_settimeofday, sys::SYS_clock_settime]),
    ("SYS_TTY_CONFIG", &[sys::SYS_vhangup]),
    (
        "SYS_NICE",
        &[
            sys::SYS_mbind, sys::SYS_get_mempolicy, sys::SYS_set_mempolicy,
            sys::SYS_migrate_pages, sys::SYS_move_pages, SET_MEMPOLICY_HOME_NODE,
        ],
    ),
    #[cfg(target_arch = "x86_64")]
    ("SYS_RAWIO", &[sys::SYS_iopl, sys::SYS_ioperm]),
];

/// Calls no container gets: they act on the whole kernel, or keep secrets of other containers
/// within reach (the kernel's keyrings are not namespaced), or are a steady source of holes.
pub(super) const WITHHELD: &[Call] = &[
    sys::SYS_add_key, sys::SYS_request_key, sys::SYS_keyctl, sys::SYS_kexec_load,
    sys::SYS_swapon, sys::SYS_swapoff, sys::SYS_nfsservctl, sys::SYS_userfaultfd,
    sys::SYS_io_uring_setup, sys::SYS_io_uring_enter, sys::SYS_io_uring_register,
    #[cfg(target_arch = "x86_64")]
    sys::SYS_kexec_file_load,
    #[cfg(target_arch = "x86_64")]
    sys::SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    sys::SYS_ustat,
    #[cfg(target_arch = "x86_64")]
    sys::SYS_sysfs,
    #[cfg(target_arch = "x86_64")]
    sys::SYS__sysctl,
];

/// Flags of clone(2) that make namespaces: not without CAP_SYS_ADMIN.
pub(super) const NAMESPACE_FLAGS: [i32; 7] = [
    sys::CLONE_NEWNS, sys::CLONE_NEWCGROUP, sys::CLONE_NEWUTS, sys::CLONE_NEWIPC,
    sys::CLONE_NEWUSER, sys::CLONE_NEWPID, sys::CLONE_NEWNET,
];

/// Values personality(2) may be asked for: Linux, Linux 32-bit, each with and without
/// `UNAME26`, and the question which one it is.
pub(super) const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

// Calls newer than the C library's headers. From 424 on all architectures share the numbers
// (io_pgetevents is older).
#[cfg(target_arch = "x86_64")]
const IO_PGETEVENTS: Call = 333;
#[cfg(not(target_arch = "x86_64"))]
const IO_PGETEVENTS: Call = 292;
const QUOTACTL_FD: Call = 443;
const SET_MEMPOLICY_HOME_NODE: Call = 450;
const CACHESTAT: Call = 451;
const FCHMODAT2: Call = 452;
const MAP_SHADOW_STACK: Call = 453;
const FUTEX_WAKE: Call = 454;
const FUTEX_WAIT: Call = 455;
const FUTEX_REQUEUE: Call = 456;
const STATMOUNT: Call = 457;
const LISTMOUNT: Call = 458;
const MSEAL: Call = 462;
const SETXATTRAT: Call = 463;
const GETXATTRAT: Call = 464;
const LISTXATTRAT: Call = 465;
const REMOVEXATTRAT: Call = 466;
const OPEN_TREE_ATTR: Call = 467;
const FILE_GETATTR: Call = 468;
const FILE_SETATTR: Call = 469;
