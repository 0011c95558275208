#!/usr/bin/env bash
# Whether the simulation can fail: breaks the line core in one place after the other, in a copy, and lets the simulation look for
# it, as `hgad simulate --seed 1 --seeds 60 --hours 5` does. Each line is: what is broken, the file, and the substitution that breaks it. Ends
# with 1 if a broken core goes unnoticed, or one that is not broken does not keep its promises.
#
# Line core and simulation need nothing else of the program: they are built alone, optimised, in seconds.
set -euo pipefail
cd "$(dirname "$0")/.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/mutants
sources=(src/line src/simulate src/time.rs src/digest.rs src/outputs/schedule.rs
  src/picture/limits.rs src/picture/statistics.rs)

mkdir -p "$copy/src/outputs"
cp Cargo.lock "$copy"
{
  printf '[package]\nname = "mutant"\nversion = "0.0.0"\nedition = "2024"\n[workspace]\n[dependencies]\n'
  grep -E '^(jiff|libc|rand|rand_chacha|serde|serde_json|sha2) = ' Cargo.toml
  printf '[profile.release]\nopt-level = 2\nincremental = true\n'
} >"$copy/Cargo.toml"
cat >"$copy/src/main.rs" <<'MAIN'
#![allow(dead_code, unused)]
mod digest;
mod line;
mod outputs {
    pub(crate) mod schedule;
}
mod picture {
    mod limits;
    mod statistics;
    pub use limits::{Fault, Limits};
    pub use statistics::Statistics;
}
mod simulate;
mod time;

fn main() {
    let belt_time = std::time::Duration::from_secs(5 * 3600);
    for seed in 1..=60 {
        let (rules, speed) = simulate::drawn(seed);
        let report = simulate::run(&simulate::Plan { belt_time, ..simulate::Plan::new(rules, speed, seed) });
        if let Some(violation) = report.violation {
            println!("{violation}");
            std::process::exit(1);
        }
    }
}
MAIN

# Whether the core that lies in the copy keeps its promises; what it breaks first is in $found.
keeps_promises() {
  (cd "$copy" && cargo build --quiet --release --offline 2>build.log) || { cat "$copy/build.log" >&2; exit 2; }
  found=$("$CARGO_TARGET_DIR/release/mutant") || { found=$(head -n 1 <<<"$found"); return 1; }
}

unnoticed=0
cp -r --parents "${sources[@]}" "$copy"
keeps_promises || { echo "BROKEN     the core itself: $found"; exit 1; }
while IFS='|' read -r what file substitution; do
  cp -r --parents "${sources[@]}" "$copy"
  perl -0pi -e "$substitution" "$copy/$file"
  if cmp -s "$file" "$copy/$file"; then echo "the substitution no longer fits: $what" >&2; exit 2; fi
  if keeps_promises; then
    echo "UNNOTICED  $what"
    unnoticed=1
  else
    echo "caught     $what: $found"
  fi
done <<'MUTANTS'
a good verdict that comes too late passes its part|src/line/fate.rs|s/Ok\(_\) if is_in_time =>/Ok(_) =>/
an ejector that acted too late counts as a reject|src/line/fate.rs|s/fired <= planned \+ tolerance/fired <= planned + tolerance * 100/g
any fall into the chute confirms any reject|src/line/fate.rs|s/\*\*fired \+ confirm\.from <= at && at <= \*\*fired \+ confirm\.until/**fired <= at || **fired > at/
a missed bad piece raises no alarm|src/line/challenge.rs|s/let text = format!\("a known bad piece was not caught.*?actions\);//s
a missed reject stops no line|src/line/fate.rs|s/self\.follow\(self\.rules\.late, text, actions\);//
a reject that no sensor saw stops no line|src/line/fate.rs|s/self\.follow\(missing, text, actions\);//
a part without a verdict goes on|src/line/fate.rs|s/Wait::Verdict => self\.without_verdict\(part, Unknown::Late, at, actions\)/Wait::Verdict => self.close(part, Fate::Passed, at, actions)/
a bad part fires the ejector of the lane beside its own|src/line/fate.rs|s/Order \{ part, lane, class/Order { part, lane: Lane((lane.0 + 1) % self.rules.lanes.len()), class/
a part is held to lie in the lane beside its own|src/line/finding.rs|s/let Sighting \{ lane, (.*?) \} = sighting;/let Sighting { lane, $1 } = sighting;\n        let lane = Lane((lane.0 + 1) % self.rules.lanes.len());/
of a part's frames the last one alone counts|src/line/views.rs|s/is_first \|\| is_worse\(judgement\.score, worst\.score\)/is_first || !is_decided/
a part that is doubted is judged as if it were not|src/line/views.rs|s/open\.followed\(\)\.doubt\.clone\(\)/open.followed().doubt.clone().filter(|_| false)/
a part of too few judged frames passes|src/line/views.rs|s/\(false, false, _\) => self\.without_verdict\(part, why, at, actions\),/(false, false, _) => { drop(why); self.close(part, Fate::Passed, at, actions); }/
of parts that touch each piece of the longest part's length is hit in its front alone|src/line/views.rs|s/let step = rules\.shortest\.max\(reach\)\.max\(Length::from_nm\(least\.as_nm\(\) \/ 2\)\)/let step = rules.longest/
what is longer than a part is one part|src/line/gate.rs|s/if track\.is_too_long\(seen, &frame\.rules\)/if false/
a part that no frame showed whole passes|src/line/views.rs|s/let why = uninspected\(&open\.record\);\n                self\.reject_stretch\(part, why, at, actions\);/self.close(part, Fate::Passed, at, actions);/
what was decided about is rejected once more|src/line/gate/track.rs|s/let \(Some\(Decided \{ lo, hi, ejected \}\), Some\(_\)\) = \(self\.decided, self\.doubt\) else/let Some(Decided { lo, hi, ejected }) = self.decided else/
a part that comes while another is in view is not followed|src/line/gate.rs|s/let track = self\.enter\(frame, seen, doubt\);\n            procession\.tracks\.push\(track\);/if procession.tracks.is_empty() { procession.tracks.push(self.enter(frame, seen, doubt)); }/
a part that may lie anywhere in a stretch is looked for where none can lie any more|src/line/views.rs|s/\(0\.\.pulses\)\.map\(\|k\|/std::iter::once(first - Length::from_nm(rules.longest.as_nm() * 30)).chain((0..pulses).map(move |k|/; s/\(way \/ pulses \* k\)\)\.collect\(\)/(way \/ pulses * k))).collect()/
a fall into any lane's chute confirms a reject|src/line/fate.rs|s/open\.lane\(\) == lane && //
a part takes a frame of the belt behind it|src/line/finding.rs|s/if place < at_camera \{/if place < at_camera + eye.window {/; s/if place - at_camera > eye\.window \{/if false {/; s/shelved\.place >= at_camera && shelved\.place - at_camera <= eye\.window/shelved.place >= at_camera + eye.window/
some edges of a photo-eye make no part|src/line/finding.rs|s/(if !is_dark \{\n            return;\n        \}\n)(        if let Some\(place\) = place\n)/$1        self.next += 1;\n        if self.next % 50 == 7 {\n            return;\n        }\n$2/
a lost frame makes no part|src/line/finding.rs|s/for k in 1\.\.=missing/for k in 2..=missing/
a run that ended without a word is told nobody|src/line/core.rs|s/self\.alarms\.happened\(Alarm::MissedReject, why\.clone\(\), at, actions\);\n//
a full bin stops no line|src/line/core.rs|s/self\.follow\(self\.rules\.bin_full, text, actions\);//
too many rejects stop no line|src/line/fate.rs|s/self\.follow\(self\.rules\.limits\.exceeded, text, actions\);//
MUTANTS
exit $unnoticed
