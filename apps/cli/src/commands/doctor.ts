import { formatAddress, parseAddress, type FunctionAddress } from "@iommu-lab/pci-bus";
import type { HostSnapshot } from "@iommu-lab/host";
import { diagnose, UnknownDeviceError, type Diagnosis, type Verdict } from "@iommu-lab/host/doctor";
import { CommandError, ExitCode } from "../exit-code.ts";
import { openSource } from "../input/open-source.ts";
import { PciNames } from "../names/pci-ids.ts";
import { doctorJson } from "../output/doctor-json.ts";
import { doctorText } from "../output/doctor-text.ts";
import { print, printJson, warn } from "../output/style.ts";

/** Options of `iommu doctor` as the parser gives them. */
export interface DoctorOptions {
  readonly from: string | undefined;
  readonly devices: readonly string[];
  readonly baseline: string | undefined;
  readonly json: boolean;
  readonly verbose: boolean;
}

/** What the verdict says to scripts. */
const EXIT = { ready: 0, warnings: 1, errors: 2, blocked: 3, "not-enough-data": 4 } as const satisfies Record<Verdict, number>;

/** Functions by address; an address without a function number means all of the slot. */
const parseDevices = (texts: readonly string[], snapshot: HostSnapshot): FunctionAddress[] | undefined => {
  const addresses = texts.flatMap((text) => text.split(",")).filter((text) => text !== "").flatMap((text): FunctionAddress[] => {
    const one = parseAddress(text);
    if (one) return [one];
    const slot = parseAddress(`${text}.0`);
    if (!slot) throw new CommandError(ExitCode.BadInput, `"${text}" is no PCI address; give bb:dd.f, dddd:bb:dd.f, or bb:dd for every function of a slot.`);
    const all = snapshot.functions.filter(({ address }) => address.domain === slot.domain && address.requester >> 3 === slot.requester >> 3).map(({ address }) => address);
    return all.length > 0 ? all : [slot];
  });
  return addresses.length === 0 ? undefined : [...new Map(addresses.map((address) => [formatAddress(address), address])).values()];
};

const diagnoseOne = (snapshot: HostSnapshot, options: DoctorOptions, baseline: HostSnapshot | undefined): Diagnosis => {
  try {
    return diagnose(snapshot, { devices: parseDevices(options.devices, snapshot), baseline });
  } catch (error) {
    if (error instanceof UnknownDeviceError) throw new CommandError(ExitCode.BadInput, `${error.message} iommu pci lists what is there.`);
    throw error;
  }
};

/** `iommu doctor`: what stands between this host and assigning its devices. */
export const runDoctor = async (options: DoctorOptions): Promise<number> => {
  const names = PciNames.load();
  const snapshots = await openSource(options.from, () => names);
  const [baseline] = options.baseline === undefined ? [] : await openSource(options.baseline, () => names);
  if (snapshots.length > 1) warn(`${options.from ?? "The input"} holds ${snapshots.length} hosts (addresses repeat); each is judged by itself.`);
  const diagnoses = snapshots.map((snapshot) => diagnoseOne(snapshot, options, baseline));
  for (const text of diagnoses.flatMap(({ warnings }) => warnings)) warn(text);
  if (options.json) {
    const values = diagnoses.map(doctorJson);
    printJson(values.length === 1 ? values[0] : { hosts: values });
  } else print(diagnoses.map((diagnosis) => doctorText(diagnosis, names, options.verbose)).join("\n\n"));
  const order: readonly Verdict[] = ["blocked", "not-enough-data", "errors", "warnings", "ready"];
  return EXIT[order.find((verdict) => diagnoses.some((diagnosis) => diagnosis.verdict === verdict)) ?? "ready"];
};
