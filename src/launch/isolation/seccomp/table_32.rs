//! The system calls of a 32-bit program on x86_64 (i386), as the other table has them:
//! the same calls, and the older and wider forms that only i386 has. Data only.
//!
//! Numbers from 424 on are those of all architectures, and stand in the other table alone.

use crate::launch::isolation::seccomp::table::Call;

/// Numbers of calls, each behind its name.
macro_rules! calls {
    ($($name:ident $number:literal),* $(,)?) => { &[$($number),*] };
}

/// The first number that all architectures share.
pub(super) const SHARED: Call = 424;

pub(super) const CLONE: Call = 120;
pub(super) const PERSONALITY: Call = 136;
/// socketcall(2) reaches the same sockets, with its arguments in memory, where no filter sees them.
pub(super) const SOCKET: Call = 359;

/// Calls that act on the caller: always allowed.
pub(super) const ALLOWED: &[Call] = calls![
    restart_syscall 0, exit 1, fork 2, read 3, write 4, open 5, close 6, waitpid 7, creat 8,
    link 9, unlink 10, execve 11, chdir 12, time 13, mknod 14, chmod 15, lchown 16, lseek 19,
    getpid 20, setuid 23, getuid 24, ptrace 26, alarm 27, pause 29, utime 30, access 33,
    nice 34, sync 36, kill 37, rename 38, mkdir 39, rmdir 40, dup 41, pipe 42, times 43, brk 45,
    setgid 46, getgid 47, signal 48, geteuid 49, getegid 50, ioctl 54, fcntl 55, setpgid 57,
    umask 60, chroot 61, dup2 63, getppid 64, getpgrp 65, setsid 66, sigaction 67, sgetmask 68,
    ssetmask 69, setreuid 70, setregid 71, sigsuspend 72, sigpending 73, setrlimit 75,
    getrlimit 76, getrusage 77, gettimeofday 78, getgroups 80, setgroups 81, select 82,
    symlink 83, readlink 85, readdir 89, mmap 90, munmap 91, truncate 92, ftruncate 93,
    fchmod 94, fchown 95, getpriority 96, setpriority 97, statfs 99, fstatfs 100,
    socketcall 102, setitimer 104, getitimer 105, stat 106, lstat 107, fstat 108, wait4 114,
    sysinfo 116, ipc 117, fsync 118, sigreturn 119, clone 120, uname 122, modify_ldt 123,
    adjtimex 124, mprotect 125, sigprocmask 126, getpgid 132, fchdir 133, personality 136,
    setfsuid 138, setfsgid 139, _llseek 140, getdents 141, _newselect 142, flock 143, msync 144,
    readv 145, writev 146, getsid 147, fdatasync 148, mlock 150, munlock 151, mlockall 152,
    munlockall 153, sched_setparam 154, sched_getparam 155, sched_setscheduler 156,
    sched_getscheduler 157, sched_yield 158, sched_get_priority_max 159,
    sched_get_priority_min 160, sched_rr_get_interval 161, nanosleep 162, mremap 163,
    setresuid 164, getresuid 165, poll 168, setresgid 170, getresgid 171, prctl 172,
    rt_sigreturn 173, rt_sigaction 174, rt_sigprocmask 175, rt_sigpending 176,
    rt_sigtimedwait 177, rt_sigqueueinfo 178, rt_sigsuspend 179, pread64 180, pwrite64 181,
    chown 182, getcwd 183, capget 184, capset 185, sigaltstack 186, sendfile 187, vfork 190,
    ugetrlimit 191, mmap2 192, truncate64 193, ftruncate64 194, stat64 195, lstat64 196,
    fstat64 197, lchown32 198, getuid32 199, getgid32 200, geteuid32 201, getegid32 202,
    setreuid32 203, setregid32 204, getgroups32 205, setgroups32 206, fchown32 207,
    setresuid32 208, getresuid32 209, setresgid32 210, getresgid32 211, chown32 212,
    setuid32 213, setgid32 214, setfsuid32 215, setfsgid32 216, mincore 218, madvise 219,
    getdents64 220, fcntl64 221, gettid 224, readahead 225, setxattr 226, lsetxattr 227,
    fsetxattr 228, getxattr 229, lgetxattr 230, fgetxattr 231, listxattr 232, llistxattr 233,
    flistxattr 234, removexattr 235, lremovexattr 236, fremovexattr 237, tkill 238,
    sendfile64 239, futex 240, sched_setaffinity 241, sched_getaffinity 242,
    set_thread_area 243, get_thread_area 244, io_setup 245, io_destroy 246, io_getevents 247,
    io_submit 248, io_cancel 249, fadvise64 250, exit_group 252, epoll_create 254,
    epoll_ctl 255, epoll_wait 256, remap_file_pages 257, set_tid_address 258, timer_create 259,
    timer_settime 260, timer_gettime 261, timer_getoverrun 262, timer_delete 263,
    clock_gettime 265, clock_getres 266, clock_nanosleep 267, statfs64 268, fstatfs64 269,
    tgkill 270, utimes 271, fadvise64_64 272, mq_open 277, mq_unlink 278, mq_timedsend 279,
    mq_timedreceive 280, mq_notify 281, mq_getsetattr 282, waitid 284, ioprio_set 289,
    ioprio_get 290, inotify_init 291, inotify_add_watch 292, inotify_rm_watch 293, openat 295,
    mkdirat 296, mknodat 297, fchownat 298, futimesat 299, fstatat64 300, unlinkat 301,
    renameat 302, linkat 303, symlinkat 304, readlinkat 305, fchmodat 306, faccessat 307,
    pselect6 308, ppoll 309, set_robust_list 311, get_robust_list 312, splice 313,
    sync_file_range 314, tee 315, vmsplice 316, getcpu 318, epoll_pwait 319, utimensat 320,
    signalfd 321, timerfd_create 322, eventfd 323, fallocate 324, timerfd_settime 325,
    timerfd_gettime 326, signalfd4 327, eventfd2 328, epoll_create1 329, dup3 330, pipe2 331,
    inotify_init1 332, preadv 333, pwritev 334, rt_tgsigqueueinfo 335, recvmmsg 337,
    fanotify_mark 339, prlimit64 340, name_to_handle_at 341, clock_adjtime 343, syncfs 344,
    sendmmsg 345, process_vm_readv 347, process_vm_writev 348, kcmp 349, sched_setattr 351,
    sched_getattr 352, renameat2 353, seccomp 354, getrandom 355, memfd_create 356,
    execveat 358, socket 359, socketpair 360, bind 361, connect 362, listen 363, accept4 364,
    getsockopt 365, setsockopt 366, getsockname 367, getpeername 368, sendto 369, sendmsg 370,
    recvfrom 371, recvmsg 372, shutdown 373, membarrier 375, mlock2 376, copy_file_range 377,
    preadv2 378, pwritev2 379, pkey_mprotect 380, pkey_alloc 381, pkey_free 382, statx 383,
    arch_prctl 384, io_pgetevents 385, rseq 386, semget 393, semctl 394, shmget 395, shmctl 396,
    shmat 397, shmdt 398, msgget 399, msgsnd 400, msgrcv 401, msgctl 402, clock_gettime64 403,
    clock_adjtime64 405, clock_getres_time64 406, clock_nanosleep_time64 407,
    timer_gettime64 408, timer_settime64 409, timerfd_gettime64 410, timerfd_settime64 411,
    utimensat_time64 412, pselect6_time64 413, ppoll_time64 414, io_pgetevents_time64 416,
    recvmmsg_time64 417, mq_timedsend_time64 418, mq_timedreceive_time64 419,
    semtimedop_time64 420, rt_sigtimedwait_time64 421, futex_time64 422,
    sched_rr_get_interval_time64 423,
];

/// Calls that come with a capability: allowed where the container has it, else EPERM.
pub(super) const WITH_CAPABILITY: &[(&str, &[Call])] = &[
    (
        "SYS_ADMIN",
        calls![
            mount 21, umount2 52, pivot_root 217, unshare 310, setns 346, sethostname 74,
            setdomainname 121, quotactl 131, lookup_dcookie 253, fanotify_init 338, bpf 357,
            perf_event_open 336, syslog 103, umount 22,
        ],
    ),
    ("BPF", calls![bpf 357]),
    ("PERFMON", calls![perf_event_open 336]),
    ("SYSLOG", calls![syslog 103]),
    ("DAC_READ_SEARCH", calls![open_by_handle_at 342]),
    ("SYS_BOOT", calls![reboot 88]),
    ("SYS_MODULE", calls![init_module 128, finit_module 350, delete_module 129]),
    ("SYS_PACCT", calls![acct 51]),
    ("SYS_TIME", calls![settimeofday 79, clock_settime 264, stime 25, clock_settime64 404]),
    ("SYS_TTY_CONFIG", calls![vhangup 111]),
    (
        "SYS_NICE",
        calls![
            mbind 274, get_mempolicy 275, set_mempolicy 276, migrate_pages 294, move_pages 317,
        ],
    ),
    ("SYS_RAWIO", calls![iopl 110, ioperm 101]),
];

/// Calls no container gets. vm86(2) runs 16-bit code in the kernel's own way, and nobody's.
pub(super) const WITHHELD: &[Call] = calls![
    ustat 62, uselib 86, swapon 87, vm86old 113, swapoff 115, create_module 127,
    get_kernel_syms 130, sysfs 135, _sysctl 149, vm86 166, query_module 167, nfsservctl 169,
    kexec_load 283, add_key 286, request_key 287, keyctl 288, userfaultfd 374,
];
