import { formatAddress } from "@iommu-lab/pci-bus";
import type { Diagnosis } from "@iommu-lab/host/doctor";

/** A diagnosis for scripts: every rule once for the machine, or once for each function. */
export const doctorJson = (diagnosis: Diagnosis, recognised: readonly string[]): Readonly<Record<string, unknown>> => ({
  origin: diagnosis.origin,
  kernel: diagnosis.kernelRelease ?? null,
  recognised,
  verdict: diagnosis.verdict,
  hostVerdict: diagnosis.hostVerdict,
  devices: diagnosis.devices.map(({ address, selected, verdict }) => ({ device: formatAddress(address), assignedWith: selected, verdict })),
  rules: [...diagnosis.host, ...diagnosis.devices.flatMap(({ results }) => results)],
  ...(diagnosis.changes ? { changes: diagnosis.changes } : {}),
  log: diagnosis.log.map((event) => ({ ...event, decoded: undefined })),
  missing: diagnosis.missing,
  warnings: diagnosis.warnings,
});
