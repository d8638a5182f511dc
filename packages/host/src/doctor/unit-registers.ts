import type { HostView } from "./host-view.ts";
import { seen, type DoctorEvidence } from "./rule.ts";

/** CAP and ECAP of one VT-d unit, and where they were read. VT-d §11.4.2, §11.4.3. */
export interface UnitRegisters {
  readonly cap: bigint;
  readonly ecap: bigint;
  readonly evidence: DoctorEvidence;
}

const HEX = /^(?:0x)?([0-9a-f]{1,16})\s*$/i;

/** What sysfs or the log tells of the units' capability registers. */
export const capabilityRegisters = (host: HostView): UnitRegisters[] => {
  const fromFiles = host.snapshot.iommus.flatMap((unit) => {
    const [cap, ecap] = ["cap", "ecap"].map((name) => HEX.exec(host.classText(unit, `intel-iommu/${name}`) ?? "")?.[1]);
    return cap === undefined || ecap === undefined ? [] : [{ cap: BigInt(`0x${cap}`), ecap: BigInt(`0x${ecap}`), evidence: seen(`sys/class/iommu/${unit}/intel-iommu`, `cap 0x${cap} ecap 0x${ecap}`) }];
  });
  if (fromFiles.length > 0) return fromFiles;
  return (host.log?.lines ?? []).flatMap((line, i) => {
    const match = /reg_base_addr (?:0x)?[0-9a-f]+ ver \d+:\d+ cap (?:0x)?([0-9a-f]{1,16}) ecap (?:0x)?([0-9a-f]{1,16})/i.exec(line.slice(0, 2048));
    return match ? [{ cap: BigInt(`0x${match[1] ?? "0"}`), ecap: BigInt(`0x${match[2] ?? "0"}`), evidence: seen("dmesg", line.slice(0, 240).trim(), i + 1) }] : [];
  });
};

/** Widest address that every unit can translate, in bits: MGAW + 1. VT-d §11.4.2 "Capability Register". */
export const addressBits = (units: readonly UnitRegisters[]): number | undefined => (units.length === 0 ? undefined : Math.min(...units.map(({ cap }) => Number((cap >> 16n) & 0x3fn) + 1)));
