import type { DeviceDiagnosis, Diagnosis } from "../doctor/diagnose.ts";
import { isBridge } from "../doctor/device-view.ts";
import { HostView } from "../doctor/host-view.ts";
import type { RuleResult, RuleStatus } from "../doctor/rule.ts";
import { processorOf } from "../hardware/processors.ts";
import { redactText } from "../capture/redact.ts";
import type { HostSnapshot } from "../snapshot.ts";
import { parseReport, type HardwareReport } from "./report-schema.ts";

/** What only the owner knows. */
export interface ReportOptions {
  /** Whether the devices worked in a VM. */
  readonly worked: "yes" | "no" | "not-said";
}

const ascii = (text: string | undefined, most: number): string => redactText((text ?? "").replace(/[^\x20-\x7e]/g, "?").trim()).text.slice(0, most);

const digits = (value: number | undefined, width: number): string => (value ?? 0).toString(16).padStart(width, "0");

const answers = (results: readonly RuleResult[]): Record<string, RuleStatus> => Object.fromEntries(results.map(({ id, status }) => [id, status]));

const METHOD = /^[a-z0-9_]{1,24}$/;

const deviceOf = ({ fn, verdict, results }: DeviceDiagnosis, snapshot: HostSnapshot, worked: ReportOptions["worked"]): HardwareReport["devices"][number] => ({
  vendor: digits(fn.vendor, 4),
  device: digits(fn.device, 4),
  class: digits(fn.classCode, 6),
  verdict,
  groupSize: fn.group === undefined ? null : Math.max(1, snapshot.functions.filter((f) => f.group === fn.group && !isBridge(f)).length),
  resetMethods: fn.resetMethods?.filter((method) => METHOD.test(method)).slice(0, 16) ?? null,
  worked,
  rules: answers(results),
});

/** The record of a diagnosis without addresses, options, names of files, serial numbers or anything else of the owner's. */
export const makeReport = (snapshot: HostSnapshot, diagnosis: Diagnosis, { worked }: ReportOptions): HardwareReport => {
  const view = new HostView(snapshot);
  const dmi = (name: string, most: number): string => ascii(view.text(`sys/class/dmi/id/${name}`), most);
  const processor = processorOf(view.text("proc/cpuinfo"));
  const [board, firmware] = [{ vendor: dmi("board_vendor", 80), name: dmi("board_name", 80) }, { vendor: dmi("bios_vendor", 80), version: dmi("bios_version", 80), date: dmi("bios_date", 20) }];
  return parseReport({
    format: "iommu-lab-report",
    version: 1,
    processor: processor ? ascii(processor.name, 120) : null,
    board: board.vendor === "" && board.name === "" ? null : board,
    firmware: firmware.version === "" ? null : firmware,
    kernel: /^\d{1,3}\.\d{1,3}(?!\d)/.exec(snapshot.kernelRelease ?? "")?.[0] ?? null,
    iommu: view.vendor ?? null,
    active: view.active.answer,
    verdict: diagnosis.verdict,
    rules: answers(diagnosis.host),
    devices: diagnosis.devices.slice(0, 256).map((device) => deviceOf(device, snapshot, worked)),
  });
};
