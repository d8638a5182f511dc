export { runDemo } from "./demo.ts";
export { runGroups } from "./groups.ts";
export { runPci } from "./pci.ts";
export { runSnapshot } from "./snapshot.ts";
