// express-session with connect-redis. Its responses are those of the other contenders.

import { once } from "node:events";
import { connect } from "node:net";

import { RedisStore } from "connect-redis";
import express from "express";
import session from "express-session";
import { createClient } from "redis";

const LIFETIME_MS = 24 * 3600 * 1000;
const sliding = process.env.BENCH_SLIDING === "1";

const client = createClient({ url: process.env.BENCH_REDIS });
client.on("error", (error) => console.error("redis:", error.message));
await client.connect();

const app = express();
app.disable("x-powered-by");
app.set("etag", false);
app.use(
  session({
    // Without `disableTouch`, every request renews the session in Redis.
    store: new RedisStore({ client, disableTouch: !sliding }),
    secret: "a secret for measuring, not for use",
    resave: false,
    saveUninitialized: false,
    rolling: sliding,
    cookie: { maxAge: LIFETIME_MS },
  }),
);

const me = (request, response) => {
  const { user } = request.session;
  if (user === undefined) return response.sendStatus(401);
  response.json({ user });
};

app.post("/login", (request, response) => {
  request.session.user = request.query.user;
  me(request, response);
});
app.get("/me", me);
app.post("/write", (request, response) => {
  request.session.value = Number(request.query.value);
  me(request, response);
});

app.post("/logout", (request, response, next) => {
  request.session.destroy((error) => (error ? next(error) : response.end()));
});
app.post("/hold", async (request, response) => {
  const barrier = connect(Number(request.query.port), "127.0.0.1").resume();
  await once(barrier, "close");
  if (request.query.write === "true") request.session.other = 1;
  me(request, response);
});
app.get("/fields", (request, response) => {
  const { user, value, other } = request.session;
  if (user === undefined) return response.sendStatus(401);
  response.json({ user, value, other });
});

const server = app.listen(0, "127.0.0.1", () => {
  const { address, port } = server.address();
  console.log(`listening on ${address}:${port}`);
});
