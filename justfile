# Every routine in one place. `just` lists them; each is a plain command that works without just as well.

real_parts := "deploy/scripts/real-parts"

[private]
default:
    @just --list --unsorted

# Install what the routines below use, and the commit hooks
setup:
    rustup component add rustfmt clippy
    cargo install --locked cargo-deny
    python3 -m pip install --user --requirement .ci/requirements.txt pre-commit
    pre-commit install

# Start the whole stack on this machine
run *arguments:
    cargo run -- {{ arguments }}

# Run the tests on the embedded parts
test *arguments:
    cargo test --workspace {{ arguments }}

# Run the tests again on real parts and with foreign clients
test-real *arguments:
    {{ real_parts }} up
    eval "$({{ real_parts }} env | grep '^export TEST_')" && \
        TIDINGS_TEST_BACKENDS="external foreign" cargo test --workspace {{ arguments }}

# Kill services, Kafka and PostgreSQL so many times under load, and balance the books
faults kills="24":
    TIDINGS_TEST_BACKENDS=external TEST_REAL_PARTS="$PWD/{{ real_parts }}" TEST_FAULT_KILLS={{ kills }} \
        cargo test -p tidings --test faults -- --nocapture

# Run the tests again on servers in containers
test-containers *arguments:
    TIDINGS_TEST_BACKENDS=containers cargo test --workspace --features tidings-testkit/containers {{ arguments }}

# Run the tests of an earlier version on the schema of this one
try-upgrade revision="":
    deploy/scripts/try-upgrade {{ revision }}

# Bring the stack up in containers, use and kill it, count, and take it down
try-compose *arguments:
    deploy/scripts/try-compose {{ arguments }}

# Check the manifests, alerts and dashboard
check-deploy:
    deploy/scripts/check

# Stop the real parts that `test-real` left running
stop-real:
    {{ real_parts }} down

# Remove the containers that `test-containers` left running
stop-containers:
    docker rm --force --volumes tidings-test-postgres tidings-test-kafka tidings-test-redis

# Check formatting, lints, licences and where crates come from
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked --features tidings-testkit/containers -- -D warnings
    cargo deny --locked check bans licenses sources

# Format the code
fmt:
    cargo fmt --all

# Write the golden files and snapshots anew; look at the difference before you commit it
golden:
    UPDATE_GOLDEN=1 INSTA_UPDATE=always cargo test --workspace

# Build the documentation of the crates
docs *arguments:
    cargo doc --workspace --no-deps {{ arguments }}

# Run the whole gate, as the workflow does
ci:
    bash .ci/run
