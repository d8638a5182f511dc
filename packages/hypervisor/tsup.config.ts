import { library } from "../../tsup.preset.ts";

export default library("src/board/index.ts", "src/devices/index.ts", "src/engines/index.ts", "src/engines/qemu/index.ts", "src/faults/index.ts", "src/machine/index.ts", "src/replay/index.ts", "src/scenarios/index.ts", "src/vm/index.ts");
