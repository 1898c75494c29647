"""Which calls container runtimes allow by themselves, and by which functions of a C library a program comes to them.

Sources: the default profiles of moby and of containers/common (what both allow); glibc 2.36, whose code is
compared with this table in the tests; musl's names are read from its sources, and no test compares them.
"""

from __future__ import annotations

from tracer.kernel import denied

# containers/common, pkg/seccomp; what moby's default profile refuses is taken out below.
_DEFAULT = """
_llseek _newselect accept accept4 access adjtimex alarm arch_prctl bind brk capget capset chdir chmod chown chown32
chroot clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 clone
clone3 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl
epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group
faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32
fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64
fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake
futimesat get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32
getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom
getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday
getuid getuid32 getxattr inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy
io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl ioprio_get ioprio_set ipc kill
landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat listen
listxattr llistxattr lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create
memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 modify_ldt mprotect mq_getsetattr
mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal
msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat open openat
openat2 pause personality pidfd_getfd pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect
poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease process_vm_readv process_vm_writev
pselect6 pselect6_time64 ptrace pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv recvfrom
recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr rename renameat renameat2 restart_syscall rmdir rseq
rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity
sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64
sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop
semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto set_robust_list set_thread_area
set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid
setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid
setsockopt setuid setuid32 setxattr shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask
sigreturn socket socketcall socketpair splice stat stat64 statfs statfs64 statx symlink symlinkat sync
sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime
timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat utime utimensat
utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev
"""
# What programs of 32 bits alone call; an image without such a program needs none of them.
_THIRTY_TWO = """
_llseek _newselect chown32 clock_getres_time64 clock_gettime64 clock_nanosleep_time64 fadvise64_64 fchown32 fcntl64
fstat64 fstatat64 fstatfs64 ftruncate64 futex_time64 getegid32 geteuid32 getgid32 getgroups32 getresgid32
getresuid32 getuid32 io_pgetevents_time64 ipc lchown32 lstat64 mmap2 mq_timedreceive_time64 mq_timedsend_time64
ppoll_time64 pselect6_time64 recv recvmmsg_time64 rt_sigtimedwait_time64 sched_rr_get_interval_time64
semtimedop_time64 send sendfile64 setfsgid32 setfsuid32 setgid32 setgroups32 setregid32 setresgid32 setresuid32
setreuid32 setuid32 sigprocmask sigreturn socketcall stat64 statfs64 timer_gettime64 timer_settime64
timerfd_gettime64 timerfd_settime64 truncate64 ugetrlimit utimensat_time64 waitpid
"""
# A call, and every function of a C library by which it is made. Only calls that no other function makes on its own
# behalf stand here: of all others the library itself is a reason. "-": only by its number (syscall(2)).
_WRAPPERS = """
accept: accept accept4
accept4: accept4
adjtimex: adjtimex __adjtimex ntp_adjtime ntp_gettime ntp_gettimex adjtime clock_adjtime
alarm: alarm
capget: capget
capset: capset
chroot: chroot
copy_file_range: copy_file_range
creat: creat creat64
epoll_create: epoll_create
epoll_create1: epoll_create1 epoll_create
epoll_ctl: epoll_ctl
epoll_ctl_old: -
epoll_pwait: epoll_pwait epoll_wait
epoll_pwait2: epoll_pwait2
epoll_wait: epoll_wait epoll_pwait
epoll_wait_old: -
eventfd: eventfd
eventfd2: eventfd
execveat: execveat fexecve
fallocate: fallocate fallocate64 posix_fallocate posix_fallocate64
fanotify_mark: fanotify_mark
fchmodat2: fchmodat lchmod
fdatasync: fdatasync aio_fsync aio_fsync64
fgetxattr: fgetxattr
flistxattr: flistxattr
flock: flock
fremovexattr: fremovexattr
fsetxattr: fsetxattr
futex_requeue: -
futex_wait: -
futex_waitv: -
futex_wake: -
getitimer: getitimer alarm ualarm
getresgid: getresgid
getresuid: getresuid
getsid: getsid
getxattr: getxattr
inotify_add_watch: inotify_add_watch
inotify_init: inotify_init
inotify_init1: inotify_init1 inotify_init
inotify_rm_watch: inotify_rm_watch
io_cancel: -
io_destroy: -
io_getevents: -
io_pgetevents: -
io_setup: -
io_submit: -
ioprio_get: -
ioprio_set: -
landlock_add_rule: -
landlock_create_ruleset: -
landlock_restrict_self: -
lchown: lchown
lgetxattr: lgetxattr
listxattr: listxattr
llistxattr: llistxattr
lremovexattr: lremovexattr
lsetxattr: lsetxattr
map_shadow_stack: -
memfd_create: memfd_create
memfd_secret: -
mincore: mincore pthread_getattr_np
mknod: mknod mknodat mkfifo mkfifoat __xmknod __xmknodat
mknodat: mknod mknodat mkfifo mkfifoat __xmknod __xmknodat
mlock: mlock mlock2
mlock2: mlock2
mlockall: mlockall
modify_ldt: modify_ldt
mq_getsetattr: mq_setattr mq_getattr
mq_notify: mq_notify
mq_open: mq_open __mq_open_2
mq_timedreceive: mq_timedreceive mq_receive __mq_timedreceive_time64
mq_timedsend: mq_timedsend mq_send __mq_timedsend_time64
mq_unlink: mq_unlink
msgctl: msgctl
msgget: msgget
msgrcv: msgrcv __libc_msgrcv
msgsnd: msgsnd __libc_msgsnd
mseal: -
munlock: munlock
munlockall: munlockall
name_to_handle_at: name_to_handle_at
openat2: openat2
pause: pause
personality: personality
pidfd_getfd: pidfd_getfd
pidfd_open: pidfd_open
pidfd_send_signal: pidfd_send_signal
pkey_alloc: pkey_alloc
pkey_free: pkey_free
pkey_mprotect: pkey_mprotect
preadv2: preadv2 preadv64v2
process_mrelease: process_mrelease
process_vm_readv: process_vm_readv
process_vm_writev: process_vm_writev
ptrace: ptrace
pwritev2: pwritev2 pwritev64v2
readahead: readahead
remap_file_pages: remap_file_pages
removexattr: removexattr
renameat2: renameat2
sched_getattr: sched_getattr
sched_rr_get_interval: sched_rr_get_interval
sched_setattr: sched_setattr
seccomp: -
semctl: semctl
semget: semget
semop: semop
semtimedop: semtimedop semop
setfsgid: setfsgid
setfsuid: setfsuid
setxattr: setxattr
shmat: shmat
shmctl: shmctl
shmdt: shmdt
shmget: shmget
signalfd: signalfd
signalfd4: signalfd
splice: splice
swapoff: swapoff
sync: sync
sync_file_range: sync_file_range
syncfs: syncfs
tee: tee
timer_getoverrun: timer_getoverrun
timer_gettime: timer_gettime
timerfd_create: timerfd_create
timerfd_gettime: timerfd_gettime
timerfd_settime: timerfd_settime
truncate: truncate truncate64
vmsplice: vmsplice
"""
# Refused by moby's profile and our own sandbox whatever the arguments; `clone` and `personality` have rules of theirs.
_BY_ARGUMENT = ("clone", "clone3", "personality", "socket")
_REFUSED = {line.split()[0] for line in denied.NUMBERS.split("\n") if line} | set(denied.COMMON)

DEFAULT = frozenset(_DEFAULT.split()) - (_REFUSED - set(_BY_ARGUMENT))
WRAPPERS = {
    name: frozenset(functions.split()) - {"-"}
    for name, _, functions in (line.partition(":") for line in _WRAPPERS.split("\n") if line)
    if name in DEFAULT
}
FUNCTIONS = frozenset().union(*WRAPPERS.values())
# What every program needs before and after its own code: the kernel's and the runtime's part of a start and an end,
# threads, signals, memory, and the descriptors that it was given (runc, written in Go, installs the filter before it
# becomes the program). No recording shows whether a given kernel, runtime
# or C library of the same image takes one or the other of them.
_ALWAYS = """
access arch_prctl brk capget capset chdir clock_getres clock_gettime clock_nanosleep clone clone3 close close_range
dup dup2 dup3 epoll_create1 epoll_ctl epoll_pwait eventfd2 execve exit exit_group faccessat faccessat2 fcntl fstat
fstatfs futex get_robust_list getcwd getdents64 getegid geteuid getgid getpgid getpgrp getpid getppid getrandom
getrlimit getsid gettid gettimeofday getuid ioctl kill lseek madvise mmap mprotect mremap munmap nanosleep newfstatat
open openat openat2 pipe pipe2 poll ppoll prctl pread64 prlimit64 pselect6 read readlink readlinkat readv
restart_syscall rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigreturn rt_sigsuspend rt_sigtimedwait
sched_getaffinity sched_yield seccomp select set_robust_list set_tid_address setgid setgroups setresgid setresuid
setsid setuid sigaltstack stat statx sysinfo tgkill time times umask uname vfork wait4 waitid write writev
"""
# Calls of the inner loops of servers, which work only on what other calls opened. A call recorder lets them pass: each
# that it stops costs ten microseconds.
HOT = frozenset(["epoll_wait", "recvfrom", "recvmsg", "sendfile", "sendmsg", "sendto"])
THIRTY_TWO, ALWAYS = frozenset(_THIRTY_TWO.split()), frozenset(_ALWAYS.split())
