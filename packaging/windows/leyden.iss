; Installs for one user, without administrator rights. Wallets live in %APPDATA% and are never touched.
[Setup]
AppId=Leyden
AppName=Leyden
AppVersion=0.1.0
DefaultDirName={autopf}\Leyden
DefaultGroupName=Leyden
PrivilegesRequired=lowest
OutputBaseFilename=leyden-setup
Compression=lzma2
SolidCompression=yes
LicenseFile=..\..\LICENSE
SetupIconFile=..\..\build\icons\leyden.ico
UninstallDisplayIcon={app}\leyden.exe
OutputDir=..\..\dist
ArchitecturesAllowed=x64compatible
ArchitecturesInstallIn64BitMode=x64compatible

[Tasks]
Name: lightning; Description: "Open lightning: links with Leyden"
Name: bitcoin; Description: "Open bitcoin: links with Leyden"; Flags: unchecked

; What an older version brought and this one does not.
[InstallDelete]
Type: filesandordirs; Name: "{app}\_internal"

[Files]
Source: "..\..\dist\leyden\*"; DestDir: "{app}"; Flags: recursesubdirs ignoreversion

[Icons]
Name: "{group}\Leyden"; Filename: "{app}\leyden.exe"
Name: "{group}\Leyden, play money"; Filename: "{app}\leyden.exe"; Parameters: "--sandbox"

[Registry]
Root: HKCU; Subkey: "Software\Classes\lightning"; ValueType: string; ValueData: "URL:Lightning payment"; Tasks: lightning
Root: HKCU; Subkey: "Software\Classes\lightning"; ValueType: string; ValueName: "URL Protocol"; ValueData: ""; Tasks: lightning
Root: HKCU; Subkey: "Software\Classes\lightning\shell\open\command"; ValueType: string; ValueData: """{app}\leyden.exe"" ""%1"""; Tasks: lightning
Root: HKCU; Subkey: "Software\Classes\bitcoin"; ValueType: string; ValueData: "URL:Bitcoin payment"; Tasks: bitcoin
Root: HKCU; Subkey: "Software\Classes\bitcoin"; ValueType: string; ValueName: "URL Protocol"; ValueData: ""; Tasks: bitcoin
Root: HKCU; Subkey: "Software\Classes\bitcoin\shell\open\command"; ValueType: string; ValueData: """{app}\leyden.exe"" ""%1"""; Tasks: bitcoin

; A kind of links that another wallet has taken since is that wallet's: only what still starts this program goes.
[Code]
procedure GiveBack(Scheme: String);
var
  Command: String;
begin
  if RegQueryStringValue(HKCU, 'Software\Classes\' + Scheme + '\shell\open\command', '', Command) and
     (Pos(Lowercase(ExpandConstant('"{app}\leyden.exe"')), Lowercase(Command)) = 1) then
    RegDeleteKeyIncludingSubkeys(HKCU, 'Software\Classes\' + Scheme);
end;

procedure CurUninstallStepChanged(Step: TUninstallStep);
begin
  if Step = usUninstall then
  begin
    GiveBack('lightning');
    GiveBack('bitcoin');
  end;
end;
