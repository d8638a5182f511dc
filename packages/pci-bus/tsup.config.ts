import { library } from "../../tsup.preset.ts";

export default library("src/acpi/index.ts", "src/capabilities/index.ts", "src/decode/index.ts", "src/groups/index.ts", "src/machine/index.ts", "src/model/index.ts", "src/paging/index.ts", "src/testing/index.ts");
