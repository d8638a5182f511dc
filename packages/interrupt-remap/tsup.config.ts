import { library } from "../../tsup.preset.ts";

export default library("src/amd/index.ts", "src/vtd/index.ts", "src/apic/index.ts");
