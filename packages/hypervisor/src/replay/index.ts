import { amdMachine } from "./amd-machine.ts";
import { intelMachine } from "./intel-machine.ts";
import { replayWith, type Machines, type ReplayOptions, type ReplayReport } from "./replay.ts";

export { requestsBehind, type Mismatch, type ReplayOptions, type ReplayReport } from "./replay.ts";
export { TraceError, type Json } from "./trace-fields.ts";
export { UnitRecorder } from "./unit-recorder.ts";

const MACHINES: Machines = { amd: amdMachine, intel: intelMachine };

/**
 * Replays a recorded machine trace (JSON Lines, one machine and its steps) on the models.
 * Every observing step is compared unless the trace marks it `impl`.
 * @param lines the file's lines in order, or its whole text
 * @throws TraceError with the line, for a file that is no trace
 */
export const replay = async (lines: string | Iterable<string> | AsyncIterable<string>, options?: ReplayOptions): Promise<ReplayReport> => replayWith(MACHINES, lines, options);
