import { readFileSync, writeFileSync } from "node:fs";
import { diagnose, makeReport, parseReport, ReportError, type HardwareReport } from "@iommu-lab/host/doctor";
import { CommandError, ExitCode } from "../exit-code.ts";
import { openHost } from "../input/open-host.ts";
import { devicesFrom } from "../input/device-list.ts";
import { PciNames } from "../names/pci-ids.ts";
import { printable } from "../output/printable.ts";
import { print, printJson } from "../output/style.ts";

/** Options of `iommu report` as the parser gives them. */
export interface ReportCommandOptions {
  readonly from: readonly string[];
  readonly devices: readonly string[];
  readonly worked: string | undefined;
  readonly output: string | undefined;
  readonly json: boolean;
}

const LARGEST = 4 * 1024 * 1024;

const readReport = (path: string): HardwareReport => {
  try {
    const bytes = readFileSync(path);
    if (bytes.length > LARGEST) throw new ReportError(`it has ${bytes.length} bytes; at most ${LARGEST} are read`);
    return parseReport(JSON.parse(bytes.toString()));
  } catch (error) {
    throw new CommandError(ExitCode.BadInput, `${path} is no report: ${error instanceof Error ? error.message : String(error)}`);
  }
};

const lines = (report: HardwareReport, names: PciNames): string[] => [
  `${report.processor ?? "unknown processor"}, ${report.board ? `${report.board.vendor} ${report.board.name}` : "unknown board"}${report.firmware ? `, firmware ${report.firmware.version}` : ""}, Linux ${report.kernel ?? "unknown"}: ${report.verdict}`,
  ...report.devices.map(({ vendor, device, verdict, worked }) => `  ${vendor}:${device} ${names.device(Number.parseInt(vendor, 16), Number.parseInt(device, 16)) ?? ""}: ${verdict}; its owner says ${worked === "not-said" ? "nothing" : worked === "yes" ? "that it works" : "that it does not work"}`),
];

const workedOf = (text: string | undefined): "yes" | "no" | "not-said" => {
  if (text === undefined) return "not-said";
  if (text === "yes" || text === "no") return text;
  throw new CommandError(ExitCode.BadInput, `--worked takes yes or no, not "${text}".`);
};

/** `iommu report`: makes an anonymous record of a diagnosis, or reads those of others. */
export const runReport = async (files: readonly string[], options: ReportCommandOptions): Promise<ExitCode> => {
  const names = PciNames.load();
  if (files.length > 0) {
    const reports = files.map(readReport);
    if (options.json) printJson(reports);
    else print(reports.flatMap((report) => lines(report, names)).map(printable).join("\n"));
    return ExitCode.Fine;
  }
  const worked = workedOf(options.worked);
  const { snapshots, guests } = await openHost(options.from, names);
  const [snapshot] = snapshots;
  if (!snapshot) throw new CommandError(ExitCode.NotEnough, "The source shows no host.");
  const report = makeReport(snapshot, diagnose(snapshot, { devices: devicesFrom(options.devices, snapshot, guests[0]), guest: guests[0] }), { worked });
  if (options.output === undefined) printJson(report);
  else {
    try {
      writeFileSync(options.output, `${JSON.stringify(report, undefined, 2)}\n`);
    } catch (error) {
      throw new CommandError(ExitCode.BadInput, `Cannot write ${options.output}: ${error instanceof Error ? error.message : String(error)}.`);
    }
    print(`${options.output}: ${report.devices.length} devices, no addresses, names or serial numbers; look through it before you pass it on.`);
  }
  return ExitCode.Fine;
};
