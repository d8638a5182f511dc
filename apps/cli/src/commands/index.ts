export { runBoot } from "./boot.ts";
export { runDecode } from "./decode.ts";
export { runDemo } from "./demo.ts";
export { runGroups } from "./groups.ts";
export { runMachine } from "./machine.ts";
export { runPci } from "./pci.ts";
export { runReplay } from "./replay.ts";
export { runRun, runScenarios } from "./run.ts";
export { runSnapshot } from "./snapshot.ts";
