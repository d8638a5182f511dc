import { library } from "../../tsup.preset.ts";

export default library("src/vtd/index.ts", "src/apic/index.ts");
