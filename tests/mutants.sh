#!/usr/bin/env bash
# Whether the simulation can fail: breaks the line core in one place after the other, in a copy, and lets `hgad simulate` look for
# it. Each line is: what is broken, the file, and the substitution that breaks it. Ends with 1 if a broken core goes unnoticed.
set -euo pipefail
cd "$(dirname "$0")/.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
unnoticed=0

while IFS='|' read -r what file substitution; do
  git ls-files -z | xargs -0 cp --parents -t "$copy"
  perl -0pi -e "$substitution" "$copy/$file"
  if cmp -s "$file" "$copy/$file"; then echo "the substitution no longer fits: $what" >&2; exit 2; fi
  (cd "$copy" && cargo build --quiet --release --bin hgad --config profile.release.package.hgad.opt-level=0 2>build.log) ||
    { cat "$copy/build.log" >&2; exit 2; }
  if found=$("$CARGO_TARGET_DIR/release/hgad" simulate --seed 1 --seeds 60 --hours 5 2>&1 >/dev/null); then
    echo "UNNOTICED  $what"
    unnoticed=1
  else
    echo "caught     $what: $(grep -m 1 '^seed\|seed [0-9]* at' <<<"$found" | sed 's/.*seed/seed/')"
  fi
done <<'MUTANTS'
a good verdict that comes too late passes its part|src/line/fate.rs|s/Ok\(_\) if is_in_time =>/Ok(_) =>/
an ejector that acted too late counts as a reject|src/line/fate.rs|s/fired <= planned \+ tolerance/fired <= planned + tolerance * 100/g
any fall into the chute confirms any reject|src/line/fate.rs|s/\*\*fired \+ confirm\.from <= at && at <= \*\*fired \+ confirm\.until/**fired <= at || **fired > at/
a missed bad piece raises no alarm|src/line/challenge.rs|s/let text = format!\("a known bad piece was not caught.*?actions\);//s
a missed reject stops no line|src/line/fate.rs|s/self\.follow\(self\.rules\.late, text, actions\);//
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
MUTANTS
exit $unnoticed
