//! Services: started in the background, held while the helper works on the job's volumes, and waited for.

use std::thread::{self, Scope};
use std::time::Duration;

use super::context::{Context, joined};
use super::helper;
use super::repair::restoring;
use super::sections::Section;
use super::spans::Activity;
use super::stop::{Stop, system_failure};
use crate::docker::error::Kind;
use crate::docker::session::{Session, Status};
use crate::docker::{DockerCommand, DockerError, Word};
use crate::logging::carried;
use crate::plan::{Service, key_hint, lines};
use crate::retry::retry;

/// When to pause containers again that started processes faster than the kernel froze them: runc gives up after some
/// tries where control groups are of version 1.
const FREEZE_PAUSES: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(3),
];

/// The longest line of a service's log that is shown in one, in bytes.
const LONGEST_LINE: usize = 64 * 1024;

/// Services that do not run.
pub(super) enum Paused {
    /// They are paused, those of them that had started.
    Services(Vec<bool>),
    /// There are none.
    Removed,
}

/// Whether containers need not be paused or unpaused: nothing runs in them any more, or they are so already.
fn need_not_be(error: &DockerError) -> bool {
    let settled = [
        "is not running",
        "is not paused",
        "is already paused",
        "No such container",
    ];
    let mut lines = error.message.lines();
    // A client of 20.10 adds its own status.
    lines.all(|line| {
        line.starts_with("exit status ") || settled.iter().any(|words| line.contains(words))
    })
}

/// Starts a service. One that does not start costs a warning.
fn start<'scope>(
    context: &'scope Context,
    service: &'scope Service,
    followers: &'scope Scope<'scope, '_>,
) -> Result<bool, Stop> {
    context.made.container(&service.name);
    match restoring(context, &service.name, || context.engine.tell(&service.run)) {
        Ok(_) => {
            if context.plan.debug_services {
                followers.spawn(carried(|| follow(context, service)));
            }
            Ok(true)
        }
        Err(Stop::Docker(error)) if error.kind != Kind::Conflict && !error.is_final() => {
            let why = format!("{}{}", error.reason(), key_hint(&error));
            context.say(&lines::service_not_started(service, Some(&why)))?;
            Ok(false)
        }
        Err(stop) => Err(stop),
    }
}

/// Copies a service's log into the job's, each line behind the service's name, until the job has ended.
fn follow(context: &Context, service: &Service) {
    let name = service.aliases.last().map_or("", String::as_str);
    let mut rest = Vec::new();
    let mut show = |bytes: &[u8]| {
        rest.extend_from_slice(bytes);
        // One that never ends its line fills no memory.
        let full = if rest.len() > LONGEST_LINE {
            rest.len()
        } else {
            0
        };
        let whole = rest
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(full, |at| at + 1);
        let lines = rest.drain(..whole).collect::<Vec<_>>();
        let lines = String::from_utf8_lossy(&lines).into_owned();
        lines
            .lines()
            .try_for_each(|line| context.trace.line(&format!("[service:{name}] {line}")))
    };
    let followed = context.engine.docker.follow(
        &DockerCommand::follow_logs(&service.name),
        &mut show,
        &context.over,
    );
    match followed {
        Err(error) if error.kind != Kind::Canceled => {
            log::warn!(
                "cannot follow the log of service {}: {error}",
                service.title
            );
        }
        _ => {}
    }
}

/// Starts all services, at the same time where that is safe, and says which of them did.
pub(super) fn start_all<'scope>(
    context: &'scope Context,
    followers: &'scope Scope<'scope, '_>,
) -> Result<Vec<bool>, Stop> {
    let start = |service: &'scope Service| {
        context.spans.timed(Activity::Service, &service.title, || {
            start(context, service, followers)
        })
    };
    let services = context.plan.services.iter();
    if context.plan.clear_nested.is_some() {
        // A job's own could lead those of the configuration astray, as they mount their volumes.
        return services.map(start).collect();
    }
    thread::scope(|scope| {
        let threads: Vec<_> = services
            .map(|service| scope.spawn(carried(|| start(service))))
            .collect();
        threads.into_iter().map(joined).collect()
    })
}

/// Keeps everything in the services from running. Where the engine cannot do that, they go, and come again later.
pub(super) fn pause_all(context: &Context, started: Vec<bool>) -> Result<Paused, Stop> {
    if pause(
        context,
        context.plan.services.iter().map(|service| &service.name),
    )? {
        return Ok(Paused::Services(started));
    }
    if context.plan.services_first {
        return Err(system_failure(
            "the engine cannot pause the services while the sources are fetched, and with links they cannot be \
             started later; use a network of the job's own (network_mode unset)",
        ));
    }
    context.trace.warning(
        "the engine cannot pause the services while the sources are fetched: they are started afterwards",
    )?;
    remove_all(context)?;
    Ok(Paused::Removed)
}

/// Lets the services run, and waits until they answer. `asking` waits in the helper already.
pub(super) fn resume<'scope>(
    context: &'scope Context,
    paused: Paused,
    asking: Option<Session>,
    followers: &'scope Scope<'scope, '_>,
) -> Result<(), Stop> {
    let Paused::Services(started) = paused else {
        let started = start_all(context, followers)?;
        return wait(context, &started, asking);
    };
    let names = context.plan.services.iter().map(|service| &service.name);
    // Before they are asked: what is printed may be pasted, in this order.
    context.engine.check_canceled()?;
    if let Err(error) = context.engine.ask(&DockerCommand::unpause(names))
        && !need_not_be(&error)
    {
        return Err(error.into());
    }
    wait(context, &started, asking)
}

/// Keeps everything from running that shares volumes with the helper: it is to work on them alone. `build_may_run`:
/// nothing is known of the build container's end.
pub(super) fn quiet(context: &Context, build_may_run: bool) -> Result<(), Stop> {
    let services = context.plan.services.iter().map(|service| &service.name);
    if !context.plan.services.is_empty() && !pause(context, services)? {
        remove_all(context)?;
    }
    if build_may_run && !pause(context, [&context.plan.build.name])? {
        context.engine.remove_container(&context.plan.build.name)?;
    }
    Ok(())
}

/// Pauses containers, as far as they run. Returns whether the engine can.
fn pause<'n>(context: &Context, names: impl IntoIterator<Item = &'n Word>) -> Result<bool, Stop> {
    let command = DockerCommand::pause(names);
    let paused = retry(
        FREEZE_PAUSES,
        || context.engine.ask(&command),
        |error: &DockerError| error.message.contains("unable to freeze"),
        |error, pause| {
            log::debug!("{error}; trying again in {pause:?}");
            let ends = context.engine.cancel.wait(pause);
            ends.map_or(Ok(()), |_| Err(error.clone()))
        },
    );
    match paused {
        Ok(_) => Ok(true),
        Err(error) if need_not_be(&error) => Ok(true),
        Err(error) if error.is_final() || error.is_loss() => Err(error.into()),
        Err(error) => {
            log::warn!("{error}");
            Ok(false)
        }
    }
}

fn remove_all(context: &Context) -> Result<(), Stop> {
    for service in &context.plan.services {
        context.engine.remove_container(&service.name)?;
    }
    Ok(())
}

/// Waits until the services answer. Each that does not costs a warning, with the end of its log.
fn wait(context: &Context, started: &[bool], asking: Option<Session>) -> Result<(), Stop> {
    let Some(check) = &context.plan.health_check else {
        return Ok(());
    };
    context.sections.enter(Section::WaitForServices)?;
    context.say(&lines::waiting_for_services())?;
    if started.iter().all(|started| !started) {
        return Ok(());
    }
    let report = context.spans.timed(Activity::WaitForServices, "", || {
        report(context, check, asking)
    })?;
    for line in report.lines() {
        let (index, problem) = line.split_once(' ').unwrap_or((line, "no answer"));
        let index: Option<usize> = index.parse().ok();
        let Some((service, true)) =
            index.and_then(|i| Some((context.plan.services.get(i)?, *started.get(i)?)))
        else {
            continue;
        };
        describe(context, service, problem)?;
    }
    Ok(())
}

/// What the helper says about the services. Should it have been replaced, the other one is asked.
fn report(
    context: &Context,
    check: &DockerCommand,
    asking: Option<Session>,
) -> Result<String, Stop> {
    let engine = &context.engine;
    let ask = |session: Session| {
        let mut report = Vec::new();
        let mut output = |bytes: &[u8]| {
            report.extend_from_slice(bytes);
            Ok(())
        };
        let status = session.run(&Word::default(), &mut output, engine.cancel)?;
        let text = String::from_utf8_lossy(&report).into_owned();
        Ok::<_, DockerError>((status, text))
    };
    if let Some(session) = asking
        && let Ok((Status(Some(0)), report)) = ask(session)
    {
        return Ok(report);
    }
    engine.check_canceled()?;
    let (Status(status), report) = ask(engine.start_apart(check)?)?;
    if status == Some(0) {
        return Ok(report);
    }
    if let Some(error) = helper::why_gone(context, status.unwrap_or_default(), false) {
        return Err(error.into());
    }
    let end = status.map_or_else(
        || "the docker client died".to_owned(),
        |status| format!("status {status}"),
    );
    Err(system_failure(lines::asking_failed(end).plain()))
}

/// Says why a service does not answer, with the end of its log.
fn describe(context: &Context, service: &Service, problem: &str) -> std::io::Result<()> {
    let state = context.engine.ask(&Service::state(&service.name));
    let problem = match state.as_deref().map(|text| text.split_once(' ')) {
        Ok(Some(("false", status))) => lines::service_died(status),
        _ => problem.into(),
    };
    let log = context
        .engine
        .docker
        .capture_end(&Service::end_of_log(&service.name));
    let log = match log {
        Ok(log) if log.is_empty() => Err(lines::NO_LOG.to_owned()),
        Ok(log) => Ok(log),
        Err(error) => Err(format!("its log cannot be read: {}", error.reason())),
    };
    let title = service.title.as_str();
    let follows = log.as_ref().map(|_| ()).map_err(String::as_str);
    context.say(&lines::service_problem(title, problem, follows))?;
    log.iter()
        .flat_map(|log| log.lines())
        .try_for_each(|line| context.trace.line(&format!("  {line}")))
}
