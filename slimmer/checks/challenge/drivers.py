"""Programs in the kept interpreters' own languages that import what they are told, each in a process of its own.

They use what is built into the interpreter and no module beside it: the slim image need not have one. Arguments:
further directories to search, joined by ":", then the names. A line for each name: name, state ("ok", "no",
"ended"), text, by tabs. The text of "ok" is the public names, with "=None", "=True" and "=False" behind those
that say whether something optional was found. A module that did nothing from one look of five seconds to the next,
twice, or computed for ten, ends with SIGALRM: that says nothing of it, on a busy machine as on an idle one.
"""

from __future__ import annotations

PYTHON = r"""
import sys, posix, time, _signal
extra, names = sys.argv[1], sys.argv[2:]
sys.argv[1:] = []
sys.path[1:1] = [each for each in extra.split(":") if each]
out = posix.dup(1)
null = posix.open("/dev/null", posix.O_RDWR)
for each in (0, 1, 2):
    posix.dup2(null, each)
def say(name, state, text):
    text = " ".join(text.split())
    posix.write(out, f"{name}\t{state}\t{text}\n".encode("utf-8", "backslashreplace"))
def shown(module):
    found = {each for each in dir(module) if not each.startswith("_")}
    for each in list(getattr(module, "__all__", ())):
        try:
            getattr(module, each)
            found.add(each)
        except BaseException:
            found.discard(each)
    for each in sorted(found, key=str):
        value = getattr(module, each, 0)
        yield f"{each}={value}" if value is None or value is True or value is False else str(each)
def watch():
    seen = [time.process_time(), 0]
    def look(*_):
        used = time.process_time()
        seen[1] = seen[1] + 1 if used - seen[0] < 0.005 else 0
        if seen[1] > 1 or used - start > 10:
            _signal.signal(14, _signal.SIG_DFL)
            posix.kill(posix.getpid(), 14)
        seen[0] = used
        _signal.alarm(5)
    start = seen[0]
    _signal.signal(14, look)
    _signal.alarm(5)
below, done = {}, set()
for name in names:
    while name not in done:
        done.add(name)
        parent = name.rpartition(".")[0]
        below.setdefault(parent, []).append(name)
        if not parent:
            break
        name = parent
def go(name):
    child = posix.fork()
    if not child:
        try:
            state, text = "no", ""
            watch()
            try:
                __import__(name)
                state, text = "ok", " ".join(shown(sys.modules[name]))
            except BaseException as error:
                text = f"{type(error).__name__}: {str(error)[:300]}"
            _signal.alarm(0)
            say(name, state, text)
            if state == "ok":
                for each in below.get(name, ()):
                    go(each)
        finally:
            posix._exit(0)
    status = posix.waitpid(child, 0)[1]
    if status:
        say(name, "ended", str(status & 127 or status >> 8))
for name in below.get("", ()):
    go(name)
"""

PYTHON_PATH = 'import sys; sys.stdout.write("\\n".join(sys.path))'

PERL = r"""
my ($extra, @names) = @ARGV;
@ARGV = ();
unshift @INC, grep { length } split /:/, $extra;
open(my $out, ">&", \*STDOUT);
open(STDIN, "<", "/dev/null"); open(STDOUT, ">", "/dev/null"); open(STDERR, ">", "/dev/null");
for my $name (@names) {
    my $child = fork();
    if (!$child) {
        my $computed = sub { my @times = times; $times[0] + $times[1] + $times[2] + $times[3] };
        my ($used, $still) = ($computed->(), 0);
        $SIG{ALRM} = sub {
            my $now = $computed->();
            $still = $now - $used < 0.005 ? $still + 1 : 0;
            if ($still > 1 || $now > 10) { $SIG{ALRM} = "DEFAULT"; kill 14, $$; }
            $used = $now;
            alarm 5;
        };
        alarm 5;
        (my $file = "$name.pm") =~ s{::}{/}g;
        my ($state, $text) = ("no", "");
        if (eval { require $file; 1 }) {
            no strict "refs";
            my @found = grep { /^[A-Za-z]\w*$/ && defined &{"${name}::$_"} } keys %{"${name}::"};
            ($state, $text) = ("ok", join " ", sort @found);
        } else { ($text = substr("$@", 0, 300)) =~ s/\s+/ /g; $text =~ s/ \(\@INC .*//; }
        alarm 0;
        syswrite($out, "$name\t$state\t$text\n");
        kill 9, $$;
    }
    waitpid($child, 0);
    syswrite($out, "$name\tended\t$?\n") if $? != 9;
}
"""

PERL_PATH = 'print join "\\n", @INC'

RUBY = r"""
extra, *names = ARGV
ARGV.clear
$LOAD_PATH.unshift(*extra.split(":"))
out = STDOUT.dup
[[STDIN, "r"], [STDOUT, "w"], [STDERR, "w"]].each { |each, mode| each.reopen("/dev/null", mode) }
names.each do |name|
  child = fork do
    before = Object.constants
    ender = Thread.new do
      used = start = Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID)
      still = 0
      loop do
        sleep 5
        now = Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID)
        still = now - used < 0.005 ? still + 1 : 0
        (trap(:ALRM, "SYSTEM_DEFAULT"); Process.kill(:ALRM, $$)) if still > 1 || now - start > 10
        used = now
      end
    end
    begin
      require name
      state, text = "ok", (Object.constants - before).sort.join(" ")
    rescue Exception => error
      state, text = "no", "#{error.class}: #{error.message[0, 300]}".split.join(" ")
    end
    ender.kill
    out.syswrite("#{name}\t#{state}\t#{text}\n")
    exit!(0)
  end
  _, status = Process.wait2(child)
  out.syswrite("#{name}\tended\t#{status.to_i}\n") unless status.success?
end
"""

RUBY_PATH = 'puts $LOAD_PATH; puts Gem.path.flat_map { |each| Dir["#{each}/gems/*/lib"] } if defined?(Gem)'

# A process for each would take seconds; what one module does to another is told by asking the fat root alike.
NODE = r"""
const [extra, ...names] = process.argv.slice(1);
const fs = require("fs");
const out = fs.openSync("/proc/self/fd/1", "w");
const end = process.reallyExit.bind(process);
process.exit = () => { throw new Error("process.exit"); };
process.stdout.write = process.stderr.write = () => true;
process.on("uncaughtException", () => {});
process.on("unhandledRejection", () => {});
for (const name of names) {
  let state = "no", text = "";
  try {
    const found = require(name);
    const kind = typeof found;
    state = "ok";
    text = [kind, ...(found && (kind === "object" || kind === "function") ? Object.keys(found).sort() : [])].join(" ");
  } catch (error) {
    text = String(error && (error.code || error.name)) + ": " + String(error && error.message).slice(0, 300);
  }
  fs.writeSync(out, `${name}\t${state}\t${text.split(/\s+/).join(" ")}\n`);
}
end(0);
"""
