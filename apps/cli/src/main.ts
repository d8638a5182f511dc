#!/usr/bin/env node
import { cac, type Command } from "cac";
import packageJson from "../package.json" with { type: "json" };
import { CommandError, ExitCode, isCommandError } from "./exit-code.ts";
import { SOURCES } from "./input/sources.ts";
import { printable } from "./output/printable.ts";

const EXAMPLES = `Examples:
  $ iommu groups                                  IOMMU groups of this machine, and why
  $ sudo iommu doctor                             can this machine give its GPU to a VM, and if not, why?
  $ sudo iommu snapshot -o host.tar.gz            capture this machine for later, or for others
  $ iommu groups --from host.tar.gz --compare     does the kernel agree with the rules?
  $ lspci -D -nn -vvv | iommu groups --from -     from pasted text
  $ dmesg | iommu decode -                        what its DMA faults mean
  $ iommu run rogue-device                        a device attacks the kernel, with and without an IOMMU

Exit codes: 0 fine, 1 a finding, 2 bad input or arguments, 3 refused, 4 not enough data; doctor has its own.`;

const cli = cac("iommu");

const withFrom = (command: Command): Command => command.option("--from <source>", `read a host from ${SOURCES}; without it, this machine`).option("--json", "JSON on standard output, alone");

/** Options given twice come as a list; none of ours may be. */
const single = (options: Readonly<Record<string, unknown>>, name: string): string | undefined => {
  const value = options[name];
  if (value === undefined || typeof value === "string") return value;
  if (typeof value === "number") return String(value);
  throw new CommandError(ExitCode.BadInput, Array.isArray(value) ? `--${name} is given twice; give it once.` : `--${name} needs a value.`);
};
/** Options that may be given several times. */
const several = (options: Readonly<Record<string, unknown>>, name: string): string[] => {
  const value = options[name];
  return (value === undefined ? [] : Array.isArray(value) ? (value as unknown[]) : [value]).map((each) => single({ [name]: each }, name) ?? "");
};
/** An option as it was written: the parser makes the number 9.1 of the version "9.10". */
const asWritten = (options: Readonly<Record<string, unknown>>, name: string, option: string): string | undefined => {
  const value = single(options, name);
  const at = process.argv.findIndex((arg) => arg === option || arg.startsWith(`${option}=`));
  return at < 0 ? value : process.argv[at] === option ? (process.argv[at + 1] ?? value) : process.argv[at]?.slice(option.length + 1);
};
const flag = (options: Readonly<Record<string, unknown>>, name: string): boolean => options[name] === true;

// Each command's code is loaded only when it runs: `--help` stays near the start-up time of Node itself.
withFrom(cli.command("groups", "IOMMU groups with their devices, and why those are together"))
  .option("--computed", "the partition this host's kernel makes with the IOMMU on, by the rules")
  .option("--recorded", "the groups the kernel made, as captured")
  .option("--compare", "where kernel and computation differ (exit 1 if they do)")
  .option("--acs-override <list>", "UNSAFE what-if: pcie_acs_override= of patched kernels (downstream,multifunction,id:vvvv:dddd)")
  .example("  $ iommu groups --from host.tar.gz")
  .example("  $ iommu groups --from lspci.txt --computed --json")
  .example("  $ iommu groups --compare && echo the rules explain this host")
  .action(async (options: Record<string, unknown>) => {
    const { runGroups } = await import("./commands/groups.ts");
    process.exitCode = await runGroups({ from: single(options, "from"), computed: flag(options, "computed"), recorded: flag(options, "recorded"), compare: flag(options, "compare"), acsOverride: single(options, "acsOverride"), json: flag(options, "json") });
  });

withFrom(cli.command("doctor", "what stands between this machine and giving devices to VMs, worst first, with evidence and advice"))
  .option("--device <address>", "a function to be assigned, bb:dd.f; bb:dd is a whole slot; may be given several times; without it the displays are looked at")
  .option("--baseline <source>", "the same machine at another time: what changed?")
  .option("--rom <file>", "a dump of an option ROM, FILE or bb:dd.f=FILE; may be given several times")
  .option("-v, --verbose", "every rule with all its evidence")
  .example("  $ sudo iommu doctor --device 01:00")
  .example("  $ iommu doctor --from host.tar.gz --device 01:00.0 --device 01:00.1 -v")
  .example("  $ iommu doctor --from lspci.txt --from dmesg.txt --from vm.xml    any pieces of one machine")
  .example("  $ iommu doctor --from new.tar.gz --baseline old.tar.gz")
  .example("  Exit codes: 0 ready, 1 warnings, 2 errors (or bad input, with a message), 3 blocked, 4 not enough data.")
  .action(async (options: Record<string, unknown>) => {
    const { runDoctor } = await import("./commands/doctor.ts");
    process.exitCode = await runDoctor({ from: several(options, "from"), devices: several(options, "device"), baseline: single(options, "baseline"), roms: several(options, "rom"), json: flag(options, "json"), verbose: flag(options, "verbose") });
  });

withFrom(cli.command("report [...files]", "an anonymous record of what the doctor found, for others; with files, read those of others"))
  .option("--device <address>", "as for doctor")
  .option("--worked <answer>", "yes or no: did it work in a VM?")
  .option("-o, --output <file>", "where to write; without it, standard output")
  .example("  $ sudo iommu report --device 01:00 --worked yes -o report.json")
  .example("  $ iommu report report.json other.json")
  .action(async (files: string[], options: Record<string, unknown>) => {
    const { runReport } = await import("./commands/report.ts");
    process.exitCode = await runReport(files, { from: several(options, "from"), devices: several(options, "device"), worked: single(options, "worked"), output: single(options, "output"), json: flag(options, "json") });
  });

withFrom(cli.command("pci [address]", "the PCI tree, or one function's configuration space, every field decoded"))
  .example("  $ iommu pci --from host.tar.gz")
  .example("  $ iommu pci 01:00.0 --from host.tar.gz")
  .example("  $ iommu pci 0000:00:1c.0 --json")
  .action(async (address: string | undefined, options: Record<string, unknown>) => {
    const { runPci } = await import("./commands/pci.ts");
    process.exitCode = await runPci(address, { from: single(options, "from"), json: flag(options, "json") });
  });

cli
  .command("snapshot", "capture this machine: PCI, IOMMU groups, ACPI tables, kernel log; serial numbers and MAC addresses are left out")
  .option("-o, --output <file>", "archive to write, .tar.gz")
  .option("--root <folder>", "capture the host mounted here instead of this one")
  .option("--json", "JSON on standard output, alone")
  .example("  $ sudo iommu snapshot -o host.tar.gz")
  .example("  $ iommu snapshot -o host.tar.gz       without root: says what is missing then")
  .action(async (options: Record<string, unknown>) => {
    const { runSnapshot } = await import("./commands/snapshot.ts");
    process.exitCode = await runSnapshot({ output: single(options, "output"), root: single(options, "root") ?? "/", json: flag(options, "json") });
  });

cli
  .command("decode [kind] [file]", "a DMAR, IVRS or MCFG table, IOMMU registers, fault records, kernel log lines, table entries: in words; - is standard input")
  .option("--json", "JSON on standard output, alone")
  .example("  $ sudo cat /sys/firmware/acpi/tables/DMAR | iommu decode -")
  .example("  $ sudo iommu decode /sys/firmware/acpi/tables/IVRS")
  .example("  $ dmesg | iommu decode -                                  faults, events, units, queue errors")
  .example("  $ iommu decode cap /sys/class/iommu/dmar0/intel-iommu/cap")
  .example("  $ echo d2008c40660462 | iommu decode cap - --json")
  .example("  $ sudo cat /sys/kernel/debug/iommu/intel/iommu_regset | iommu decode -")
  .example("  Kinds: dmar, ivrs, mcfg, log, debugfs; of Intel: fault, iqe, iqe256, irte, root, scalable-root, context, scalable-context,")
  .example("  pasid, pasid-directory, pte, first-stage-pte, and every register by its name (cap, ecap, gsts, fsts, rtaddr, iqa, irta ...);")
  .example("  of AMD: efr, efr2, dte, amd-pte, amd-guest-pte, gcr3, amd-command, amd-event, amd-irte, amd-irte32, ppr-log, ga-log,")
  .example("  and every register as amd-control, amd-status, amd-cmd-head ...")
  .example("  Without one the input is recognised by what is in it. A long number has its high bits first; quadwords follow each other from the low one.")
  .action(async (kind: string | undefined, file: string | undefined, options: Record<string, unknown>) => {
    const { runDecode } = await import("./commands/decode.ts");
    const rest = Array.isArray(options["--"]) ? (options["--"] as string[]) : [];
    process.exitCode = await runDecode([kind, file, ...rest].filter((arg) => arg !== undefined), { json: flag(options, "json") });
  });

cli
  .command("replay <...files>", "recorded machine traces (.jsonl, .jsonl.gz, folders of them) on the models: does every observation agree?")
  .option("--caches <policy>", "how the model's caches behave: none, realistic (default) or adversarial")
  .option("--json", "JSON on standard output, alone")
  .example("  $ iommu replay trace.jsonl.gz")
  .example("  $ iommu replay traces/intel --json")
  .example("  $ iommu replay --caches adversarial traces/intel/qemu-11.1 && echo no mismatch")
  .action(async (files: string[], options: Record<string, unknown>) => {
    const { runReplay } = await import("./commands/replay.ts");
    process.exitCode = await runReplay(files, { caches: single(options, "caches"), json: flag(options, "json") });
  });

cli
  .command("boot", "boot a real Linux on the IOMMU models (QEMU is the processor); without a terminal it tests itself and powers off")
  .option("--iommu <kind>", "intel or amd, then options: intremap=off, caching-mode=on, scalable=on, levels=5, superpages=off, caches=none|realistic|adversarial", { default: "intel" })
  .option("--kernel <file>", "a bzImage with virtio, or --initrd with its modules; without it Debian's, fetched once into your cache folder")
  .option("--initrd <file>", "an initial file system; without it one with a self-test, or a shell on a terminal")
  .option("--append <text>", "more for the kernel's command line")
  .option("--disk <file>", "a raw disk image behind virtio-blk; without it a disk in memory")
  .option("--device <name>", "virtio-rng, virtio-blk, virtio-console or edu[,interrupts=msi|msix]; may be given several times; default one of each")
  .option("--inject-fault <kind>", "drop-invalidation, delay-invalidation, corrupt-descriptor, device-tlb-timeout, fail-fetch or overflow-log, then ,after=N ,count=N; may be given several times")
  .option("--suite <name>", "a suite of Debian's to take the kernel from, such as bookworm-backports")
  .option("--timeout <seconds>", "without a terminal: how long the guest may run (exit 124)", { default: "120" })
  .option("--offline", "fetch nothing")
  .option("--machine-trace <file>", "write what happened as a trace that iommu replay reads; .gz is compressed")
  .example("  $ iommu boot                                     a self-test with VT-d, remapped interrupts and virtio")
  .example("  $ iommu boot --iommu amd,caches=adversarial")
  .example("  $ iommu boot --iommu intel,scalable=on,levels=5 --suite bookworm-backports")
  .example("  $ iommu boot --inject-fault corrupt-descriptor,after=200   does the driver get over it?")
  .example("  $ iommu boot --disk disk.raw --append 'root=/dev/vda1 ro' --kernel vmlinuz --initrd initrd.img")
  .action(async (options: Record<string, unknown>) => {
    const { runBoot } = await import("./commands/boot.ts");
    process.exitCode = await runBoot({
      iommu: single(options, "iommu") ?? "intel",
      kernel: single(options, "kernel"),
      initrd: single(options, "initrd"),
      append: single(options, "append"),
      disk: single(options, "disk"),
      devices: several(options, "device"),
      faults: several(options, "injectFault"),
      suite: single(options, "suite"),
      timeout: single(options, "timeout") ?? "120",
      offline: flag(options, "offline"),
      machineTrace: single(options, "machineTrace"),
    });
  });

withFrom(cli.command("machine [file]", "a machine.json of this host, or of another; with a file, build that machine and tell what it is"))
  .option("-o, --output <file>", "where to write; without it, standard output")
  .option("--schema", "the JSON schema of machine.json")
  .example("  $ iommu machine --from host.tar.gz -o host.json")
  .example("  $ iommu machine host.json                  does it build? which groups would its kernel make?")
  .action(async (file: string | undefined, options: Record<string, unknown>) => {
    const { runMachine } = await import("./commands/machine.ts");
    const rest = Array.isArray(options["--"]) ? (options["--"] as string[]) : [];
    process.exitCode = await runMachine(file ?? rest[0], { from: single(options, "from"), output: single(options, "output"), schema: flag(options, "schema"), json: flag(options, "json") });
  });

withFrom(cli.command("plan", "everything it takes to give devices to a VM, as files: kernel options, binding, the guest, and how to take it back"))
  .option("--device <address>", "what to assign; may be given several times; bb:dd means every function of a slot")
  .option("--distro <name>", "debian, ubuntu, fedora, arch, opensuse, popos, silverblue, nixos or proxmox")
  .option("--target <name>", "libvirt, qemu, proxmox or kubevirt")
  .option("--libvirt-version <version>", "the libvirt that reads the XML", { default: "9.0" })
  .option("--guest <kind>", "linux or windows", { default: "linux" })
  .option("--guest-iommu <kind>", "an IOMMU for the guest itself: none, intel or virtio", { default: "none" })
  .option("--memory <mib>", "the guest's memory; by default half of the host's, at most 8192")
  .option("--hugepages", "back the guest's memory with pages of 2 MiB, set aside at boot")
  .option("--assume <key>", "take for granted what the input does not show: iommu, intel, amd, groups, drivers, interrupt-remapping, reserved-memory, unused")
  .option("--out <folder>", "a new folder for the files")
  .example("  $ iommu plan --device 01:00.0 --distro debian --target libvirt --out plan")
  .example("  $ iommu plan --device 01:00 --from host.tar.gz --distro arch --target qemu --guest windows --out plan")
  .example("  Exit codes: 0 written, 1 written but the machine itself is not fit, 2 bad input, 3 refused, 4 not enough data")
  .action(async (options: Record<string, unknown>) => {
    const { runPlan } = await import("./commands/plan.ts");
    process.exitCode = await runPlan({
      from: single(options, "from"),
      devices: several(options, "device"),
      distro: single(options, "distro"),
      target: single(options, "target"),
      libvirtVersion: asWritten(options, "libvirtVersion", "--libvirt-version"),
      guest: single(options, "guest"),
      guestIommu: single(options, "guestIommu"),
      memory: single(options, "memory"),
      hugepages: flag(options, "hugepages"),
      assume: several(options, "assume"),
      out: single(options, "out"),
      json: flag(options, "json"),
    });
  });

cli
  .command("scenarios", "the scenarios there are: attacks, translations, interrupts, passthrough, VGA")
  .option("--json", "JSON on standard output, alone")
  .example("  $ iommu scenarios")
  .action(async (options: Record<string, unknown>) => {
    const { runScenarios } = await import("./commands/run.ts");
    process.exitCode = runScenarios({ json: flag(options, "json") });
  });

cli
  .command("run <scenario>", "tell a scenario on a machine of models: what happens without protection, and with it")
  .option("--iommu <vendor>", "intel or amd", { default: "intel" })
  .option("--seed <n>", "another run of the same story", { default: "1" })
  .option("--without <protection>", "take a protection away to see what it was for; may be given several times")
  .option("--trace <file>", "write the run as an event file, which the playground opens; .gz is compressed")
  .option("--machine-trace <file>", "write what each IOMMU did as a trace that iommu replay reads; of several IOMMUs, files with -1, -2 …; .gz is compressed")
  .option("--json", "JSON on standard output, alone")
  .example("  $ iommu run rogue-device")
  .example("  $ iommu run msi-forgery --iommu amd --json")
  .example("  $ iommu run ats-stale --without device-tlb-invalidation   exit 1: what it protected fails")
  .action(async (name: string, options: Record<string, unknown>) => {
    const { runRun } = await import("./commands/run.ts");
    process.exitCode = runRun(name, { iommu: single(options, "iommu") ?? "intel", seed: single(options, "seed") ?? "1", without: several(options, "without"), trace: single(options, "trace"), machineTrace: single(options, "machineTrace"), json: flag(options, "json") });
  });

cli
  .command("demo", "this machine's IOMMU and groups; without one, those of a bundled host")
  .example("  $ iommu demo")
  .action(async () => {
    const { runDemo } = await import("./commands/demo.ts");
    process.exitCode = runDemo();
  });

cli.help((sections) => (cli.matchedCommand ? sections : [...sections.filter(({ title }) => title !== "For more info, run any command with the `--help` flag"), { body: EXAMPLES }]));
cli.version(packageJson.version);

// A reader that has seen enough (head, less) closes the pipe; that is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit();
});

const complain = (message: string): void => {
  process.stderr.write(`iommu: ${message}\n`);
};

try {
  // "-" alone is standard input, for which the parser needs the form --from=-.
  const args = process.argv.slice(2);
  const joined = args.flatMap((arg, i) => (arg === "--from" && args[i + 1] === "-" ? ["--from=-"] : arg === "-" && args[i - 1] === "--from" ? [] : [arg]));
  // As an argument of its own the parser drops it, but not behind "--".
  const placed = joined.includes("-") && !joined.includes("--") ? [...joined.filter((arg) => arg !== "-"), "--", "-"] : joined;
  cli.parse([...process.argv.slice(0, 2), ...placed], { run: false });
  if (cli.matchedCommand) await cli.runMatchedCommand();
  else if (cli.options.help !== true && cli.options.version !== true) {
    const unknown = cli.args[0];
    if (unknown === undefined) cli.outputHelp();
    else complain(`there is no command "${printable(unknown)}"; iommu --help lists them.`);
    process.exitCode = ExitCode.BadInput;
  }
} catch (error) {
  if (isCommandError(error)) {
    complain(printable(error.message));
    process.exitCode = error.exitCode;
  } else if (error instanceof Error && error.name === "CACError") {
    complain(`${printable(error.message)}; iommu ${cli.matchedCommandName ?? ""} --help shows what there is.`);
    process.exitCode = ExitCode.BadInput;
  } else {
    complain(`this is a fault of the program, please report it with the command and the input.\n${(error instanceof Error ? (error.stack ?? error.message) : String(error)).split("\n").map(printable).join("\n")}`);
    process.exitCode = ExitCode.Fault;
  }
}
