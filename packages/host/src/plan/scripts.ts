import type { HostFunction } from "../snapshot.ts";
import type { DistroSteps, HostFile } from "./distro.ts";
import { nameOf } from "./host-evidence.ts";
import { shellWord } from "./quote.ts";

/** What apply.sh and undo.sh do. */
export interface ScriptInput {
  /** [a-z0-9-]: names the place where apply.sh keeps what it replaces. */
  readonly name: string;
  readonly files: readonly HostFile[];
  readonly steps: DistroSteps;
  /** Commands that make what was written count at once, where no boot is needed. */
  readonly kernelOptions: readonly string[];
}

const head = (what: string, { name }: ScriptInput): string => `#!/bin/sh
# ${what}
# With a folder as argument it works on the system mounted there, and only shows the commands it would run.
set -eu
root=\${1:-}
state="$root/var/lib/iommu-lab/${name}"
run() {
	echo "+ $*"
	if [ -z "$root" ]; then "$@"; fi
}
if [ -z "$root" ] && [ "$(id -u)" != 0 ]; then
	echo "This changes the system: run it as root." >&2
	exit 1
fi
`;

const EDITING = `here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
require_absent() {
	if [ -e "$root$1" ]; then
		echo "$1 is there already and not of this plan; nothing was changed." >&2
		exit 1
	fi
}
make_folder() {
	if [ -d "$1" ]; then return 0; fi
	make_folder "$(dirname "$1")"
	echo "$1" >> "$state/folders"
	mkdir "$1"
}
# place MODE PATH: puts a file of the plan where it belongs.
place() {
	make_folder "$(dirname "$root$2")"
	echo "$2" >> "$state/placed"
	cp "$here/host$2" "$root$2"
	chmod "$1" "$root$2"
}
# save PATH, keep PATH: a file of yours before and after it is edited.
save() {
	mkdir -p "$state/before$(dirname "$1")" "$state/after$(dirname "$1")"
	cp -p "$root$1" "$state/before$1"
	echo "$1" >> "$state/edited"
}
keep() {
	cp -p "$root$1" "$state/after$1"
}
# append_block PATH LINE: adds a line at the end.
append_block() {
	save "$1"
	{
		if [ -n "$(tail -c 1 "$state/before$1")" ]; then echo; fi
		printf '%s\\n' "# added by iommu plan" "$2"
	} >> "$root$1"
	keep "$1"
}
# append_words PATH KEYWORD WORDS: adds words to the first line that begins with KEYWORD; without one, to the first line that is not empty.
append_words() {
	save "$1"
	awk -v keyword="$2" -v words="$3" '
		!done && ((keyword == "" && $0 !~ /^[ \\t]*(#|$)/) || (keyword != "" && $1 == keyword)) {
			count = split(words, word, " ")
			for (i = 1; i <= count; i++) if (index(" " $0 " ", " " word[i] " ") == 0) $0 = $0 " " word[i]
			done = 1
		}
		{ print }
		END { if (!done) print (keyword == "" ? words : keyword " " words) }
	' "$state/before$1" > "$state/new"
	cat "$state/new" > "$root$1"
	rm "$state/new"
	keep "$1"
}
`;

/** Puts the plan's files onto the system, edits what must be edited, regenerates. */
export const applyScript = (input: ScriptInput): string => {
  const { files, steps } = input;
  return `${head("Applies the plan. What was there before is kept for undo.sh.", input)}${EDITING}
if [ -e "$state" ]; then
	echo "The plan is applied already; run undo.sh first." >&2
	exit 1
fi
${files.map(({ path }) => `require_absent ${shellWord(path)}`).join("\n")}
mkdir -p "$state"
: > "$state/folders"
: > "$state/placed"
: > "$state/edited"
${files.map(({ path, mode }) => `place ${mode.toString(8)} ${shellWord(path)}`).join("\n")}
${[...steps.setOptions, ...steps.regenerate].join("\n")}
echo "Applied. Restart the machine, then run verify.sh."
`;
};

/** Takes all of it back. */
export const undoScript = (input: ScriptInput): string => `${head("Takes the plan back: the files it put there, and its edits of yours.", input)}
if [ ! -e "$state/placed" ]; then
	echo "The plan is not applied here." >&2
	exit 1
fi
status=0
while read -r file; do
	rm -f "$root$file"
done < "$state/placed"
while read -r file; do
	if cmp -s "$root$file" "$state/after$file"; then
		cat "$state/before$file" > "$root$file"
	else
		echo "$file was changed since: take these options out by hand: ${input.kernelOptions.join(" ")}" >&2
		status=1
	fi
done < "$state/edited"
sort -r "$state/folders" | while read -r folder; do
	rmdir "$folder" 2>/dev/null || :
done
${[...input.steps.unsetOptions, ...input.steps.regenerate].join("\n")}
if [ "$status" = 0 ]; then
	rm -r "$state"
	rmdir "$root/var/lib/iommu-lab" 2>/dev/null || :
fi
echo "Taken back. Restart the machine."
exit "$status"
`;

/** What is to be seen after the restart. */
export interface VerifyInput {
  readonly bound: readonly HostFunction[];
  readonly kernelOptions: readonly string[];
  /** Members of the groups of the functions, as planned. */
  readonly expectedMembers: readonly string[];
  readonly hugepages: number | undefined;
}

/** Looks, changes nothing: exit 0 when everything is as planned. */
export const verifyScript = ({ bound, kernelOptions, expectedMembers, hugepages }: VerifyInput): string => `#!/bin/sh
# After the restart: is everything as planned? Changes nothing. With a folder as argument it looks at the system mounted there.
set -u
root=\${1:-}
status=0
ok() { echo "ok: $1"; }
bad() {
	echo "NOT OK: $1"
	status=1
}
# Not "DMAR: IOMMU enabled" in the log: that only says that the option was read.
if [ -n "$(ls "$root/sys/class/iommu" 2>/dev/null)" ]; then ok "an IOMMU is on"; else bad "no IOMMU is on: look for DMAR: or AMD-Vi: in the kernel's log"; fi
if grep -q 'IR-' "$root/proc/interrupts" 2>/dev/null; then ok "interrupts are remapped"; else bad "no interrupt is remapped (no IR- in /proc/interrupts)"; fi
${kernelOptions.map((option) => `if tr ' ' '\\n' < "$root/proc/cmdline" | grep -qxF -e ${shellWord(option)}; then ok ${shellWord(`kernel option ${option}`)}; else bad ${shellWord(`kernel option ${option} is missing`)}; fi\n`).join("")}expected=" ${expectedMembers.join(" ")} "
check() {
	device="$root/sys/bus/pci/devices/$1"
	driver=$(basename "$(readlink "$device/driver" 2>/dev/null)" 2>/dev/null)
	if [ "$driver" = vfio-pci ]; then ok "$1 is with vfio-pci"; else bad "$1 is with \${driver:-no driver}"; fi
	for member in "$device"/iommu_group/devices/*; do
		case "$expected" in
		*" $(basename "$member") "*) ;;
		*) bad "the group of $1 also holds $(basename "$member")" ;;
		esac
	done
}
${bound.map((f) => `check ${nameOf(f)}\n`).join("")}${hugepages === undefined ? "" : `if [ "$(cat "$root/proc/sys/vm/nr_hugepages" 2>/dev/null)" -ge ${Math.ceil(hugepages / 2)} ]; then ok "huge pages are set aside"; else bad "not enough huge pages"; fi\n`}exit "$status"
`;
