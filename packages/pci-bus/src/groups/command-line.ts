import { AcsBit } from "./acs-rules.ts";
import type { AcsDeviceMatch, AcsOverride, AcsParameter } from "./policy.ts";

/** What a kernel command line says about the IOMMU and ACS. Linux Documentation/admin-guide/kernel-parameters. */
export interface IommuParameters {
  /** Values of every `intel_iommu=`, `amd_iommu=` and `iommu=`, split at commas, in order. */
  readonly intelIommu: readonly string[];
  readonly amdIommu: readonly string[];
  readonly iommu: readonly string[];
  /** `iommu.strict=`; undefined where nothing is said. */
  readonly strict: boolean | undefined;
  /** `iommu.passthrough=`; undefined where nothing is said. */
  readonly passthrough: boolean | undefined;
  readonly noAts: boolean;
  /** `pci=nommconf`: no extended configuration space, so no ACS for this kernel. */
  readonly noMmconfig: boolean;
  /** `pci=disable_acs_redir=`. */
  readonly disableAcsRedir: readonly AcsParameter[];
  /** `pci=config_acs=`, which Linux knows since 6.11. */
  readonly configAcs: readonly AcsParameter[];
  /** `pcie_acs_override=`: only patched kernels know it. */
  readonly override: AcsOverride | undefined;
}

const REDIRECT = AcsBit.ReqRedir | AcsBit.CmpltRedir | AcsBit.EgressCtrl;

/** Splits at white space outside double quotes. */
const words = (line: string): string[] => line.match(/(?:[^\s"]|"[^"]*")+/g) ?? [];

const id = (text: string | undefined): number => {
  const value = Number.parseInt(text ?? "", 16);
  return Number.isNaN(value) || value === 0 || value === 0xffff_ffff ? 0xffff : value & 0xffff;
};

/** "[domain:]bus:dev.fn[/dev.fn]*" or "pci:vvvv:dddd[:ssss:ssss]". */
const deviceMatch = (text: string): AcsDeviceMatch | undefined => {
  if (text.startsWith("pci:")) {
    const [, vendor, device, subsystemVendor, subsystemDevice] = text.split(":");
    return { kind: "id", vendor: id(vendor), device: id(device), subsystemVendor: id(subsystemVendor), subsystemDevice: id(subsystemDevice) };
  }
  const [first = "", ...rest] = text.split("/");
  const head = /^(?:([0-9a-f]+):)?([0-9a-f]+):([0-9a-f]+)\.([0-7])$/i.exec(first);
  if (!head) return undefined;
  const devfns = [(Number.parseInt(head[3] ?? "", 16) << 3) | Number(head[4])];
  for (const part of rest) {
    const step = /^([0-9a-f]+)\.([0-7])$/i.exec(part);
    if (!step) return undefined;
    devfns.push((Number.parseInt(step[1] ?? "", 16) << 3) | Number(step[2]));
  }
  return { kind: "path", domain: Number.parseInt(head[1] ?? "0", 16), bus: Number.parseInt(head[2] ?? "", 16), devfns };
};

/** The flag text of `config_acs`: rightmost character is bit 0 of the 16-bit control word; 0 clears, 1 sets, x leaves. */
const flagBits = (flags: string): { clear: number; set: number } => {
  let clear = 0;
  let set = 0;
  for (const [i, flag] of Array.from(flags.slice(-16)).reverse().entries()) {
    if (flag === "0") clear |= 1 << i;
    if (flag === "1") set |= 1 << i;
  }
  return { clear: clear | set, set };
};

const disableRedirect = (value: string): AcsParameter[] =>
  value.split(";").flatMap((text) => {
    const match = deviceMatch(text);
    return match ? [{ clear: REDIRECT, set: 0, match }] : [];
  });

const configAcs = (value: string): AcsParameter[] =>
  value.split(";").flatMap((part) => {
    const [flags = "", device = ""] = part.split("@");
    const match = deviceMatch(device);
    return match && /^[01x]+$/i.test(flags) ? [{ ...flagBits(flags.toLowerCase()), match }] : [];
  });

const acsOverride = (value: string): AcsOverride => ({
  downstream: /(?:^|,)downstream(?:,|$)/.test(value),
  multifunction: /(?:^|,)multifunction(?:,|$)/.test(value),
  ids: [...value.matchAll(/(?:^|,)id:([0-9a-f]{4}):([0-9a-f]{4})(?=,|$)/gi)].map((match) => Number.parseInt(`${match[1] ?? ""}${match[2] ?? ""}`, 16)),
});

/** A boolean as the kernel reads it; undefined where it would refuse. */
const truth = (value: string): boolean | undefined => (/^(?:[yY1tT]|on$|On$|ON$)/.test(value) ? true : /^(?:[nN0fF]|off$|Off$|OFF$)/.test(value) ? false : undefined);

/** Reads a kernel command line; what it does not know it leaves alone. */
export const parseCommandLine = (line: string): IommuParameters => {
  const found = { intelIommu: [] as string[], amdIommu: [] as string[], iommu: [] as string[], strict: undefined as boolean | undefined, passthrough: undefined as boolean | undefined, noAts: false, noMmconfig: false, disableAcsRedir: [] as AcsParameter[], configAcs: [] as AcsParameter[], override: undefined as AcsOverride | undefined };
  for (const word of words(line)) {
    const equals = word.indexOf("=");
    const value = equals < 0 ? "" : word.slice(equals + 1).replace(/^"|"$/g, "");
    switch (equals < 0 ? word : word.slice(0, equals)) {
      case "intel_iommu": found.intelIommu.push(...value.split(",")); break;
      case "amd_iommu": found.amdIommu.push(...value.split(",")); break;
      case "iommu": found.iommu.push(...value.split(",")); break;
      case "iommu.strict": found.strict = truth(value); break;
      case "iommu.passthrough": found.passthrough = truth(value); break;
      case "pcie_acs_override": found.override = acsOverride(value); break;
      case "pci": {
        for (const option of value.split(",")) {
          if (option === "noats") found.noAts = true;
          if (option === "nommconf") found.noMmconfig = true;
          if (option.startsWith("disable_acs_redir=")) found.disableAcsRedir.push(...disableRedirect(option.slice("disable_acs_redir=".length)));
          if (option.startsWith("config_acs=")) found.configAcs.push(...configAcs(option.slice("config_acs=".length)));
        }
        break;
      }
      default:
    }
  }
  return found;
};
