#!/bin/sh
# Makes the bucket, puts the sample stream into it, and makes a user who may read it and do nothing else.
# Then it proves what it made, as that user. Any step that fails fails the job, and the edge does not start.
set -eu

fail() { echo "init-bucket: $*" >&2; exit 1; }

mc alias set root "$S3_ENDPOINT" "$MINIO_ROOT_USER" "$MINIO_ROOT_PASSWORD" >/dev/null
mc mb --ignore-existing "root/$BUCKET"
mc mirror --overwrite --exclude "*.md" --exclude "*.sh" /sample "root/$BUCKET"

mc admin user add root "$S3_ACCESS_KEY" "$S3_SECRET_KEY"
mc admin policy create root warren-read /init/edge-policy.json
# A second run finds the policy attached and says so with an error. Whether it holds is asked below, not here.
mc admin policy attach root warren-read --user "$S3_ACCESS_KEY" || echo "init-bucket: not attached anew; asking whether it holds"

mc alias set edge "$S3_ENDPOINT" "$S3_ACCESS_KEY" "$S3_SECRET_KEY" >/dev/null
mc cat "edge/$BUCKET/ts/master.m3u8" >/dev/null || fail "the edge's user cannot read $BUCKET: the policy is not set"
mc ls "edge/$BUCKET/ts/" >/dev/null || fail "the edge's user cannot list $BUCKET: missing objects would be 403"
if echo probe | mc pipe "edge/$BUCKET/.init-probe" >/dev/null 2>&1; then
  mc rm "root/$BUCKET/.init-probe" || true
  fail "the edge's user can write to $BUCKET: the policy is too wide"
fi
if mc anonymous get "root/$BUCKET" | grep -qiE 'download|public|upload'; then
  fail "$BUCKET is open to everybody"
fi
echo "init-bucket: $BUCKET is there, private, and readable by the edge"
