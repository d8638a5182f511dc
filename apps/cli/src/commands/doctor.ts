import { readFileSync } from "node:fs";
import { formatAddress, parseAddress, type FunctionAddress } from "@iommu-lab/pci-bus";
import type { HostSnapshot } from "@iommu-lab/host";
import { diagnose, type Diagnosis, type GuestDomain, type Verdict } from "@iommu-lab/host/doctor";
import { CommandError, ExitCode } from "../exit-code.ts";
import { devicesFrom } from "../input/device-list.ts";
import { openHost } from "../input/open-host.ts";
import { PciNames } from "../names/pci-ids.ts";
import { doctorJson } from "../output/doctor-json.ts";
import { doctorText } from "../output/doctor-text.ts";
import { print, printJson, warn } from "../output/style.ts";

/** Options of `iommu doctor` as the parser gives them. */
export interface DoctorOptions {
  /** Sources that tell of one machine together; none is this machine. */
  readonly from: readonly string[];
  readonly devices: readonly string[];
  readonly baseline: string | undefined;
  /** Dumps of option ROMs, "bb:dd.f=FILE" or FILE for the only display asked for. */
  readonly roms: readonly string[];
  readonly json: boolean;
  readonly verbose: boolean;
}

/** What the verdict says to scripts. */
const EXIT = { ready: 0, warnings: 1, errors: 2, blocked: 3, "not-enough-data": 4 } as const satisfies Record<Verdict, number>;

const LARGEST_ROM = 16 * 1024 * 1024;

/** @throws CommandError when a file cannot be read or a function cannot be told */
const readRoms = (texts: readonly string[], devices: readonly FunctionAddress[] | undefined): ReadonlyMap<string, Uint8Array> => new Map(texts.map((text) => {
  const equals = text.indexOf("=");
  const address = equals < 0 ? devices?.[0] : parseAddress(text.slice(0, equals));
  if (!address) throw new CommandError(ExitCode.BadInput, `--rom ${text}: give bb:dd.f=FILE, or name the function with --device.`);
  const path = text.slice(equals + 1);
  try {
    const bytes = readFileSync(path);
    if (bytes.length > LARGEST_ROM) throw new CommandError(ExitCode.BadInput, `${path} has ${bytes.length} bytes; an option ROM has at most ${LARGEST_ROM}.`);
    return [formatAddress(address), bytes] as const;
  } catch (error) {
    throw error instanceof CommandError ? error : new CommandError(ExitCode.BadInput, `Cannot read ${path}: ${error instanceof Error ? error.message : String(error)}.`);
  }
}));

const diagnoseOne = (snapshot: HostSnapshot, options: DoctorOptions, baseline: HostSnapshot | undefined, guest: GuestDomain | undefined): Diagnosis => {
  const devices = devicesFrom(options.devices, snapshot, guest);
  return diagnose(snapshot, { devices, baseline, guest, roms: readRoms(options.roms, devices) });
};

/** `iommu doctor`: what stands between this host and assigning its devices. */
export const runDoctor = async (options: DoctorOptions): Promise<number> => {
  const names = PciNames.load();
  const { snapshots, guests, recognised } = await openHost(options.from, names);
  const baseline = options.baseline === undefined ? undefined : (await openHost([options.baseline], names)).snapshots[0];
  if (guests.length > 1) warn(`${guests.length} VMs are described; the first, of ${guests[0]?.source ?? ""}, is judged.`);
  if (snapshots.length > 1) warn(`The input holds ${snapshots.length} hosts (addresses repeat); each is judged by itself.`);
  const diagnoses = snapshots.map((snapshot) => diagnoseOne(snapshot, options, baseline, guests[0]));
  for (const text of diagnoses.flatMap(({ warnings }) => warnings)) warn(text);
  if (options.json) {
    const values = diagnoses.map((diagnosis) => doctorJson(diagnosis, recognised));
    printJson(values.length === 1 ? values[0] : { hosts: values });
  } else print(diagnoses.map((diagnosis) => doctorText(diagnosis, names, { verbose: options.verbose, recognised: options.from.length > 0 ? recognised : [] })).join("\n\n"));
  const order: readonly Verdict[] = ["blocked", "not-enough-data", "errors", "warnings", "ready"];
  return EXIT[order.find((verdict) => diagnoses.some((diagnosis) => diagnosis.verdict === verdict)) ?? "ready"];
};
