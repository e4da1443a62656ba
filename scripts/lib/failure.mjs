// A failure that needs no stack trace: its message says what is wrong and what to do.
export class Failure extends Error {}

/** Runs a script's main function; its number becomes the exit code, a Failure one clear message. */
export async function main(body) {
  try {
    process.exitCode = (await body()) ?? 0;
  } catch (error) {
    console.error(error instanceof Failure ? `settle: ${error.message}` : error);
    process.exitCode = 1;
  }
}
