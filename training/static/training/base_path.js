/** The path below which this installation is served (HEIMDALL_BASE_PATH); empty for the root. */
export const basePath = new URL(import.meta.url).pathname.replace(/\/static\/training\/[^/]*$/, "");
